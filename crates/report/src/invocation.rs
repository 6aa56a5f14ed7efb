//! The command that a user pastes.

use std::borrow::Cow;

/// How this plugin is called for the cluster that a report is of: the flags by which a pasted command acts on the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The namespace, where the command has to name it.
    pub namespace: Option<String>,
    /// The kubeconfig file, where the user named one.
    pub kubeconfig: Option<String>,
    /// The context, where the user named one.
    pub context: Option<String>,
}

impl Invocation {
    /// That of kubectl's own context.
    pub const PLAIN: &Self = &Self {
        namespace: None,
        kubeconfig: None,
        context: None,
    };

    /// The same, about an object of a namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..self.clone()
        }
    }

    /// The same for all namespaces.
    #[must_use]
    pub fn without_namespace(&self) -> Self {
        Self {
            namespace: None,
            ..self.clone()
        }
    }

    /// A verb with what it is about, such as `upgrade my-cluster`, and its own flags, which may be none, behind those of the
    /// cluster. What is given stands in the command as it is.
    #[must_use]
    pub fn command(&self, verb: &str, flags: &str) -> String {
        let mut command = format!("kubectl instar {verb}");
        for (flag, value) in [
            ("-n", &self.namespace),
            ("--kubeconfig", &self.kubeconfig),
            ("--context", &self.context),
        ] {
            if let Some(value) = value {
                for part in [" ", flag, " ", &quoted(value)] {
                    command.push_str(part);
                }
            }
        }
        if !flags.is_empty() {
            command.push(' ');
            command.push_str(flags);
        }
        command
    }
}

/// As a shell reads it back. No argument of a program has the character NUL, which no quoting can write.
#[must_use]
pub fn quoted(value: &str) -> Cow<'_, str> {
    shlex::try_quote(value).unwrap_or(Cow::Borrowed(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_command_is_about_the_same_cluster() {
        let plain = Invocation::PLAIN;
        assert_eq!(plain.command("status prod", ""), "kubectl instar status prod");
        assert_eq!(
            plain.in_namespace("fleet").command("upgrade prod", "--to v1.35"),
            "kubectl instar upgrade prod -n fleet --to v1.35"
        );
        let named = Invocation {
            namespace: Some("fleet".to_owned()),
            kubeconfig: Some("/home/a user/config".to_owned()),
            context: Some("kubernetes-admin@prod".to_owned()),
        };
        let command = named.command("status prod", "--watch");
        let words = shlex::split(&command).unwrap();
        assert_eq!(
            words[2..],
            [
                "status",
                "prod",
                "-n",
                "fleet",
                "--kubeconfig",
                "/home/a user/config",
                "--context",
                "kubernetes-admin@prod",
                "--watch"
            ]
        );
        assert!(!named.without_namespace().command("status -A", "").contains("-n fleet"));
    }

    /// A context's name is whatever a kubeconfig says: it can't end the command and begin another.
    #[test]
    fn no_name_is_read_as_a_command() {
        for context in ["a; rm -rf x", "$(id)", "it's", "a\nb", "`id`", ""] {
            let named = Invocation {
                context: Some(context.to_owned()),
                ..Invocation::default()
            };
            let words = shlex::split(&named.command("status prod", "")).unwrap();
            assert_eq!(words.last().map(String::as_str), Some(context));
            assert_eq!(words.len(), 6);
        }
    }
}

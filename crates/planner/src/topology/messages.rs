//! Cluster API's words, read and shortened.

/// What precedes the sentence of a template that gave up. Before it stands the whole template.
const FAIL: &str = "error calling fail: ";

/// How much of a long message is passed on.
const MOST: usize = 512;

/// The end of an error's message, where the reason stands.
pub(super) fn useful_end(message: &str) -> String {
    if let Some((_, sentence)) = message.rsplit_once(FAIL) {
        return sentence.trim().to_owned();
    }
    let length = message.chars().count();
    if length <= MOST {
        return message.to_owned();
    }
    let end: String = message.chars().skip(length - MOST).collect();
    format!("... {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_its_reason() {
        let failed = r#"error computing the desired state of the Cluster topology: failed to render JSON patch value: failed to render template "{{- fail (printf \"no release is pinned for %s\" $v) -}}": template: tpl:1:298: executing "tpl" at <fail (printf "no release is pinned for %s" $v)>: error calling fail: no release is pinned for v1.35.4"#;
        assert_eq!(useful_end(failed), "no release is pinned for v1.35.4");
        assert_eq!(useful_end("short"), "short");
        let long = format!("{}the end", "ä".repeat(2000));
        assert!(useful_end(&long).ends_with("the end"));
        assert_eq!(useful_end(&long).chars().count(), MOST + 4);
    }
}

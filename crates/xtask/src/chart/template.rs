//! An object as a template: its YAML, with an expression of Helm in each place that a value sets.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{CERTIFICATE_SECRET, NAMESPACE, monitoring::DASHBOARD, yaml};

/// Where the template of a file of `config/` is, and when it renders anything.
pub(super) struct Place {
    pub(super) file: String,
    condition: Option<String>,
}

impl Place {
    /// None for what has no place in the chart: kustomizations, their patches, and the Namespace.
    pub(super) fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix("config/")?;
        let (part, file) = path.split_once('/')?;
        if file.ends_with("kustomization.yaml")
            || file.starts_with("inject-ca-")
            || part == "default"
            || part == "without-cert-manager"
        {
            return None;
        }
        let file = match part {
            "crd" => format!("crd/{}", file.rsplit_once('_')?.1),
            "providers" => format!("providers/{}.yaml", file.split_once('/')?.0),
            _ => path.to_owned(),
        };
        let condition = condition(part, &file);
        Some(Self { file, condition })
    }
}

fn condition(part: &str, file: &str) -> Option<String> {
    let is = |value: &str| Some(format!(".Values.{value}"));
    match (part, file) {
        ("crd", _) => is("crds.install"),
        ("certmanager", _) => Some(CERT_MANAGER.to_owned()),
        ("self-signed-certificates", _) => Some(SELF_SIGNED.to_owned()),
        ("policy", _) => is("policies.enabled"),
        ("workload", _) => is("workload.enabled"),
        ("vsphere", _) => is("vsphere.enabled"),
        ("providers", file) => {
            let name = file.trim_start_matches("providers/").trim_end_matches(".yaml");
            Some(format!("has \"{name}\" .Values.providers"))
        }
        ("monitoring", file) => {
            let (section, _) = monitoring(file)?;
            Some(format!(".Values.{section}.enabled"))
        }
        // Of one replica it would let no node be drained.
        (_, "server/disruption-budget.yaml") => Some("gt (int .Values.webhook.replicas) 1".to_owned()),
        (_, file) if file.ends_with("/network-policy.yaml") => is("networkPolicies.enabled"),
        (_, _) => None,
    }
}

/// Of a file of monitoring: the section of the values that switches it, and the label that the section has instead of it.
fn monitoring(file: &str) -> Option<(&'static str, Option<&'static str>)> {
    match file {
        "monitoring/pod-monitor.yaml" => Some(("metrics.podMonitor", None)),
        "monitoring/rules.yaml" => Some(("metrics.rules", None)),
        "monitoring/dashboard.yaml" => Some(("dashboard", Some(DASHBOARD.0))),
        _ => None,
    }
}

const CERT_MANAGER: &str = "eq .Values.certificates.mode \"cert-manager\"";
const SELF_SIGNED: &str = "eq .Values.certificates.mode \"self-signed\"";

/// The objects of a file as a template.
pub(super) fn text(place: &Place, mut objects: Vec<Value>) -> Result<String> {
    let mut marks = Marks::default();
    for object in &mut objects {
        match object["kind"].as_str().unwrap_or_default() {
            "CustomResourceDefinition" => keep(object, &mut marks),
            "Deployment" => deployment(object, &mut marks),
            "NetworkPolicy" => egress(object, &mut marks),
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => authority(object, &mut marks),
            _ => {}
        }
        if let Some((section, replaced)) = monitoring(&place.file) {
            labels(object, section, replaced, &mut marks);
        }
    }
    let text = marks.replaced(&escaped(&yaml::documents(&objects)?));
    let text = text
        .replace(
            &format!("namespace: {NAMESPACE}\n"),
            "namespace: {{ .Release.Namespace | quote }}\n",
        )
        .replace(NAMESPACE, "{{ .Release.Namespace }}");
    Ok(match &place.condition {
        Some(condition) => format!("{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"),
        None => text,
    })
}

/// Braces of the object's own, such as those of an alert's text, are no expressions of Helm.
fn escaped(text: &str) -> String {
    text.replace("{{", r#"{{ "{{" }}"#)
}

/// Lines of the YAML that are replaced by others: each has a word by which it is found.
#[derive(Default)]
struct Marks(Vec<(String, Vec<String>)>);

impl Marks {
    /// A value for the line that these lines replace, each at that line's indentation.
    fn line<const N: usize>(&mut self, lines: [&str; N]) -> Value {
        let word = format!("HELM{:03}", self.0.len());
        self.0.push((word.clone(), lines.map(str::to_owned).into()));
        json!(word)
    }

    fn replaced(&self, text: &str) -> String {
        let mut replaced = String::new();
        for line in text.lines() {
            let indentation = &line[..line.len() - line.trim_start().len()];
            match self.0.iter().find(|(word, _)| line.contains(word.as_str())) {
                Some((_, lines)) => {
                    for given in lines {
                        replaced.extend([indentation, given, "\n"]);
                    }
                }
                None => replaced.extend([line, "\n"]),
            }
        }
        replaced
    }
}

fn keep(definition: &mut Value, marks: &mut Marks) {
    definition["metadata"]["annotations"]["helm.sh/resource-policy"] = marks.line([
        "{{- if .Values.crds.keep }}",
        "helm.sh/resource-policy: keep",
        "{{- end }}",
    ]);
}

/// With the labels by which the user's operator or sidecar finds it.
fn labels(object: &mut Value, section: &str, replaced: Option<&str>, marks: &mut Marks) {
    let Some(labels) = object["metadata"]["labels"].as_object_mut() else {
        return;
    };
    if let Some(replaced) = replaced {
        labels.remove(replaced);
    }
    let open = format!("{{{{- with .Values.{section}.labels }}}}");
    let added = marks.line([&open, "{{- toYaml . | nindent 4 }}", "{{- end }}"]);
    labels.insert("labels".to_owned(), added);
}

/// Egress is closed but for the user's rules, where there are some: no rule of ours could name the API server.
fn egress(policy: &mut Value, marks: &mut Marks) {
    let component = component(policy);
    let value = format!(".Values.{component}.egress");
    policy["spec"]["egress"] = match component.as_str() {
        "controller" => to_servers(marks, &value),
        _ => optional(marks, &value, "egress", 4),
    };
    let open = format!("{{{{- if {value} }}}}");
    if let Some(types) = policy["spec"]["policyTypes"].as_array_mut() {
        types.push(marks.line([&open, "- Egress", "{{- end }}"]));
    }
}

/// Where the controller keeps the certificates it asks each server which one it has: without an answer an old CA would stay
/// trusted.
fn to_servers(marks: &mut Marks, value: &str) -> Value {
    marks.line([
        &format!("{{{{- with {value} }}}}"),
        "egress:",
        "  {{- toYaml . | nindent 4 }}",
        &format!("  {{{{- if {} }}}}", SELF_SIGNED.replace(".Values", "$.Values")),
        "  - ports:",
        "    - port: 9443",
        "      protocol: TCP",
        "    to:",
        "    - podSelector:",
        "        matchLabels:",
        "          app.kubernetes.io/component: webhook",
        "          app.kubernetes.io/name: instar",
        "  {{- end }}",
        "{{- end }}",
    ])
}

/// The program that an object belongs to, by its label: the name of its section in the values.
fn component(object: &Value) -> String {
    let label = object.pointer("/metadata/labels/app.kubernetes.io~1component");
    label.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The authority: cert-manager writes it where the annotation asks for that, else it is a value.
fn authority(configuration: &mut Value, marks: &mut Marks) {
    let annotation = format!("  cert-manager.io/inject-ca-from: {NAMESPACE}/instar-webhook");
    let open = format!("{{{{- if {CERT_MANAGER} }}}}");
    configuration["metadata"]["annotations"] = marks.line([&open, "annotations:", &annotation, "{{- end }}"]);
    let bundle = marks.line([r#"{{- include "instar.caBundle" . }}"#]);
    for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
        webhook["clientConfig"]["caBundle"] = bundle.clone();
    }
}

fn deployment(deployment: &mut Value, marks: &mut Marks) {
    let component = component(deployment);
    let values = format!(".Values.{component}");
    deployment["spec"]["replicas"] = marks.line([&format!("replicas: {{{{ {values}.replicas }}}}")]);
    let pod = &mut deployment["spec"]["template"]["spec"];
    let secret = r#"{{ include "instar.certificateSecret" . }}"#;
    let volumes = pod.get_mut("volumes").and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        if let Some(name) = volume.pointer_mut("/secret/secretName") {
            *name = marks.line([&format!("secretName: {secret}")]);
        }
    }
    pod["priorityClassName"] = marks.line([
        "{{- with .Values.priorityClass }}",
        "priorityClassName: {{ . }}",
        "{{- end }}",
    ]);
    pod["imagePullSecrets"] = optional(marks, ".Values.imagePullSecrets", "imagePullSecrets", 8);
    pod["nodeSelector"] = optional(marks, &format!("{values}.nodeSelector"), "nodeSelector", 8);
    pod["affinity"] = optional(marks, &format!("{values}.affinity"), "affinity", 8);
    pod["tolerations"] = optional(marks, &format!("{values}.tolerations"), "tolerations", 8);
    let container = &mut pod["containers"][0];
    container["image"] = marks.line([r#"image: {{ include "instar.image" . | quote }}"#]);
    container["imagePullPolicy"] = marks.line([
        "{{- with .Values.image.pullPolicy }}",
        "imagePullPolicy: {{ . }}",
        "{{- end }}",
    ]);
    container["resources"] = optional(marks, &format!("{values}.resources"), "resources", 10);
    let Some(arguments) = container["args"].as_array_mut() else {
        return;
    };
    for argument in arguments.iter_mut() {
        if let Some((flag, CERTIFICATE_SECRET)) = argument.as_str().and_then(|argument| argument.split_once('=')) {
            let line = format!("- {flag}={secret}");
            *argument = marks.line([&line]);
        }
    }
    if component == "controller" {
        let open = format!("{{{{- if {SELF_SIGNED} }}}}");
        arguments.push(marks.line([&open, "- --webhook-certificates=self-signed", "{{- end }}"]));
    }
    arguments.push(marks.line([
        &format!("{{{{- with {values}.extraArgs }}}}"),
        "{{- toYaml . | nindent 8 }}",
        "{{- end }}",
    ]));
}

/// A member that is there where its value isn't empty.
fn optional(marks: &mut Marks, value: &str, member: &str, indentation: usize) -> Value {
    marks.line([
        &format!("{{{{- with {value} }}}}"),
        &format!("{member}:"),
        &format!("  {{{{- toYaml . | nindent {indentation} }}}}"),
        "{{- end }}",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_of_an_object_stay_its_own() {
        let place = Place {
            file: "f".to_owned(),
            condition: Some("a".to_owned()),
        };
        let object = json!({ "kind": "K", "text": "of {{ $labels.kind }}, {x}", "namespace": "instar-system" });
        assert_eq!(
            text(&place, vec![object]).unwrap(),
            "{{- if a }}\nkind: K\nnamespace: {{ .Release.Namespace | quote }}\n\
             text: of {{ \"{{\" }} $labels.kind }}, {x}\n{{- end }}\n"
        );
    }

    #[test]
    fn a_line_is_replaced_at_its_indentation() {
        let mut marks = Marks::default();
        let list = json!({ "args": ["one", marks.line(["{{ two }}", "{{ three }}"])] });
        let text = marks.replaced(&yaml::documents(&[list]).unwrap());
        assert_eq!(text, "args:\n- one\n{{ two }}\n{{ three }}\n");
    }
}

//! Commands of a shell, as words.

/// What stands between two commands.
const BETWEEN: [&str; 4] = ["|", "||", "&&", ";"];

/// Where a command stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is there to be typed.
    Block,
    /// A sentence names it, and may leave out what it is given.
    Sentence,
}

pub struct Command {
    pub place: String,
    pub source: Source,
    pub words: Vec<String>,
}

impl Command {
    /// The files and folders that `kubectl` is to apply or delete.
    pub fn applied(&self) -> Vec<&str> {
        match self.words.get(1).map(String::as_str) {
            Some("apply" | "delete" | "create") => self.values(&["-f", "--filename", "-k", "--kustomize"]),
            _ => Vec::new(),
        }
    }

    /// The patches that `kubectl` is to send.
    pub fn patches(&self) -> Vec<&str> {
        match self.words.get(1).map(String::as_str) {
            Some("patch") => self.values(&["-p", "--patch"]),
            _ => Vec::new(),
        }
    }

    fn values(&self, flags: &[&str]) -> Vec<&str> {
        let pairs = self.words.iter().zip(self.words.iter().skip(1));
        let named = pairs.filter(|(flag, _)| flags.contains(&flag.as_str()));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// Of a text of several lines. What a command is given by a here document is none.
pub fn commands(place: &str, source: Source, text: &str) -> Vec<Command> {
    let (mut found, mut is_document) = (Vec::new(), false);
    for line in text.replace("\\\n", " ").lines() {
        if is_document {
            is_document = line != "EOF";
            continue;
        }
        is_document = line.contains("<<'EOF'");
        // Where a quotation is open, it is no command but a sentence.
        let words = shlex::split(line).unwrap_or_default();
        let calls = words.split(|word| BETWEEN.contains(&word.as_str()));
        found.extend(calls.map(|words| Command {
            place: place.to_owned(),
            source,
            words: until_redirection(words),
        }));
    }
    found
}

fn until_redirection(words: &[String]) -> Vec<String> {
    let kept = words.iter().take_while(|word| !word.starts_with(['>', '<']));
    kept.cloned().collect()
}

#[test]
fn commands_are_found() {
    let text = "instar wire my-class | kubectl apply -f - # why\nkubectl patch x y \\\n  -p '{\"a\": 1}' > out && make up\n\
                kubectl apply -f - <<'EOF'\nmake: no\nEOF\nmake down\n";
    let found: Vec<String> = commands("p", Source::Block, text)
        .iter()
        .map(|command| command.words.join(" "))
        .collect();
    assert_eq!(
        found,
        [
            "instar wire my-class",
            "kubectl apply -f -",
            "kubectl patch x y -p {\"a\": 1}",
            "make up",
            "kubectl apply -f -",
            "make down"
        ]
    );
}

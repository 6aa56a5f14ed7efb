//! The pages, and what is code on them.

use std::fs;

use xtask::root;

use crate::commands::{Command, Source, commands};

/// Pages beside those of `docs/`.
const OTHERS: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

pub struct Page {
    blocks: Vec<Block>,
    /// Code in a sentence.
    spans: Vec<(String, String)>,
}

struct Block {
    /// `docs/page.md:12`.
    place: String,
    language: String,
    text: String,
}

/// Those that people write. What is generated comes from the code that it is about.
pub fn pages() -> Vec<Page> {
    let folder = root().join("docs");
    let mut paths: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap()))
        .chain(OTHERS.map(str::to_owned))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| Page::read(path, &fs::read_to_string(root().join(path)).unwrap()))
        .collect()
}

impl Page {
    fn read(path: &str, text: &str) -> Self {
        let (mut blocks, mut spans, mut open): (_, _, Option<Block>) = (Vec::new(), Vec::new(), None);
        for (line, number) in text.lines().zip(1..) {
            let place = format!("{path}:{number}");
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    let language = language.trim().to_owned();
                    open = Some(Block {
                        place,
                        language,
                        text: String::new(),
                    });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {
                    let code = line.split('`').skip(1).step_by(2);
                    spans.extend(code.map(|code| (place.clone(), code.to_owned())));
                }
            }
        }
        assert!(open.is_none(), "{path}: a block has no end");
        Self { blocks, spans }
    }

    /// The commands that call this program.
    pub fn commands(&self, program: &str) -> Vec<Command> {
        let blocks = self.blocks.iter().filter_map(|block| {
            let text = match block.language.as_str() {
                "sh" => block.text.clone(),
                // Only what follows a prompt is typed.
                "console" => {
                    let typed = block.text.lines().filter_map(|line| line.strip_prefix("$ "));
                    typed.collect::<Vec<_>>().join("\n")
                }
                _ => return None,
            };
            Some((block.place.clone(), Source::Block, text))
        });
        let spans = self
            .spans
            .iter()
            .map(|(place, text)| (place.clone(), Source::Sentence, text.clone()));
        let all = blocks.chain(spans);
        all.flat_map(|(place, source, text)| commands(&place, source, &text))
            .filter(|command| command.words.first().is_some_and(|first| first == program) && command.words.len() > 1)
            .collect()
    }

    /// The YAML, also what a command is given.
    pub fn yaml(&self) -> Vec<(String, String)> {
        self.blocks
            .iter()
            .filter_map(|block| {
                let text = match block.language.as_str() {
                    "yaml" => block.text.clone(),
                    "sh" => here_document(&block.text)?,
                    _ => return None,
                };
                Some((block.place.clone(), text))
            })
            .collect()
    }

    /// Whether a block is shown as this file: its first line is a comment with the name.
    pub fn shows_file(&self, path: &str) -> bool {
        let name = if path == "." { "kustomization.yaml" } else { path };
        let mut blocks = self.blocks.iter();
        blocks.any(|block| block.text.lines().next().and_then(|line| line.strip_prefix("# ")) == Some(name))
    }
}

fn here_document(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<<'EOF'\n")?;
    let (document, _) = rest.split_once("\nEOF\n")?;
    Some(format!("{document}\n"))
}

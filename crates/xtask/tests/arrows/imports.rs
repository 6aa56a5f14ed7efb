//! What a source imports: the paths of its `use` declarations and those in its code that begin with `crate`, `self`
//! or `super`.

use std::{iter::Peekable, vec};

/// A path, with the line that it begins in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    /// The name that a `use` gives to it in its module.
    pub(crate) name: Option<String>,
}

struct Token {
    line: usize,
    text: String,
}

type Tokens = Peekable<vec::IntoIter<Token>>;

/// The imports of code without its comment lines, as [`crate::source::code`] returns it.
pub(crate) fn imports(code: &str) -> Vec<Import> {
    let mut tokens = tokens(code).into_iter().peekable();
    let mut imports = Vec::new();
    let mut in_path = false;
    while let Some(token) = tokens.next() {
        let next = tokens.peek().map(|next| next.text.as_str());
        match (token.text.as_str(), next) {
            // `use<'a>` is a bound.
            ("use", Some(next)) if next != "<" => tree(&mut tokens, &[], &mut imports),
            ("crate" | "self" | "super", Some("::")) if !in_path => {
                let mut path = vec![token.text.clone()];
                while tokens.next_if(|next| next.text == "::").is_some() {
                    path.extend(tokens.next_if(|next| is_word(&next.text)).map(|next| next.text));
                }
                imports.push(Import {
                    line: token.line,
                    path,
                    name: None,
                });
            }
            _ => {}
        }
        in_path = token.text == "::";
    }
    imports
}

/// Reads `a::b`, `a::b as c`, `a::*` or `a::{b, c}`.
fn tree(tokens: &mut Tokens, before: &[String], imports: &mut Vec<Import>) {
    let mut path = before.to_vec();
    let Some(line) = tokens.peek().map(|token| token.line) else {
        return;
    };
    while let Some(token) = tokens.next_if(|token| !matches!(token.text.as_str(), ";" | "," | "}" | "as")) {
        match token.text.as_str() {
            "{" => {
                while tokens.next_if(|token| token.text == "}").is_none() && tokens.peek().is_some() {
                    tree(tokens, &path, imports);
                    let _ = tokens.next_if(|token| token.text == ",");
                }
                return;
            }
            // In a group: the module itself.
            "self" if !path.is_empty() => {}
            "::" | "*" => {}
            name => path.push(name.to_owned()),
        }
    }
    let mut name = path.last().cloned();
    if tokens.next_if(|token| token.text == "as").is_some() {
        name = tokens.next().map(|token| token.text);
    }
    imports.push(Import { line, path, name });
}

fn is_word(text: &str) -> bool {
    text.starts_with(|character: char| character.is_alphanumeric() || character == '_')
}

/// Words, `::`, and other characters one by one; without strings, characters in quotes, lifetimes and comments.
fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let line = code[..code.len() - rest.len()].matches('\n').count() + 1;
        let word = rest.find(|character: char| !(character.is_alphanumeric() || character == '_'));
        let word = &rest[..word.unwrap_or(rest.len())];
        let length = if let Some(length) = skipped(rest) {
            length
        } else {
            let text = match () {
                () if !word.is_empty() => word,
                () if rest.starts_with("::") => "::",
                () => &rest[..first.len_utf8()],
            };
            if !first.is_whitespace() {
                tokens.push(Token {
                    line,
                    text: text.to_owned(),
                });
            }
            text.len()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of what stands at the beginning of a text and is no code.
fn skipped(text: &str) -> Option<usize> {
    let through = |begin: usize, end: &str| {
        let length = text[begin..].find(end).map(|at| begin + at + end.len());
        Some(length.unwrap_or(text.len()))
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return through(2, "*/");
    }
    if let Some(raw) = text.strip_prefix("br").or_else(|| text.strip_prefix('r')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let begin = text.len() - raw.len() + hashes + 1;
            return through(begin, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if let Some(string) = text.strip_prefix('"') {
        return Some(1 + quoted(string, '"'));
    }
    let quote = text.strip_prefix('\'')?;
    let mut characters = quote.chars();
    let is_character = characters.next()? == '\\' || characters.next() == Some('\'');
    // Else a lifetime, of which the word is a token.
    Some(1 + if is_character { quoted(quote, '\'') } else { 0 })
}

/// The length of what a quotation mark ends, with the mark.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if character == mark && !escaped {
            return at + mark.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}

#[test]
fn paths_are_read() {
    let read = |code: &str| -> Vec<(usize, String, Option<String>)> {
        let imports = imports(code).into_iter();
        imports
            .map(|import| (import.line, import.path.join("::"), import.name))
            .collect()
    };
    let used = |line: usize, path: &str, name: &str| (line, path.to_owned(), Some(name.to_owned()));
    let inline = |line: usize, path: &str| (line, path.to_owned(), None);
    assert_eq!(
        read("use crate::{\n    a::{self, A as B},\n    c,\n};\npub(crate) use super::d::*;\n"),
        [
            used(2, "crate::a", "a"),
            used(2, "crate::a::A", "B"),
            used(3, "crate::c", "c"),
            used(5, "super::d", "d"),
        ]
    );
    assert_eq!(
        read(
            "fn a<'a>(b: &'a self::B) -> impl Fn() + use<'a> {\n    crate::b::c(b);\n    super::super::d::<u8>()\n}\n"
        ),
        [
            inline(1, "self::B"),
            inline(2, "crate::b::c"),
            inline(3, "super::super::d"),
        ]
    );
    assert_eq!(
        read("let a = (\"crate::a\", r#\"\"crate::b\"#, '\"', '\\'', 'c'); // crate::c\ncrate::d::D;\n"),
        [inline(2, "crate::d::D")]
    );
}

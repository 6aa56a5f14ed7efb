//! What is asked of a source before a parser sees it.

use super::ExpressionError;

const MOST_SOURCE: usize = 1024;

/// Brackets within each other.
const MOST_NESTED: usize = 16;

/// Operators, and accesses to members. Each may be a level of the tree, which is walked by recursion.
const MOST_OPERATORS: usize = 160;

/// `a ? b : c`, of which the parser takes each for a level.
const MOST_CONDITIONALS: usize = 16;

pub(super) fn check(source: &str) -> Result<(), ExpressionError> {
    let bound = |what, is, most| {
        if is > most {
            return Err(ExpressionError::TooMuch { what, is, most });
        }
        Ok(())
    };
    bound("it is too long, in bytes", source.len(), MOST_SOURCE)?;
    let (mut depth, mut deepest, mut operators, mut conditionals) = (0_usize, 0, 0, 0);
    let mut last = ' ';
    for next in code(source).chars().filter(|next| !next.is_whitespace()) {
        match next {
            '(' | '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
                operators += 1;
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '!' | '-' if last == next => {
                return Err(ExpressionError::Unsupported(
                    "two '!' or two '-' in a row: leave them out, or put parentheses between them",
                ));
            }
            '?' if matches!(last, '.' | '[' | '{' | ',') => {
                return Err(ExpressionError::Unsupported(
                    "optional fields (.? and [?) are not supported: ask with has() first",
                ));
            }
            '?' => {
                conditionals += 1;
                operators += 1;
            }
            '.' | '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' | '=' | '&' | '|' => operators += 1,
            _ => {}
        }
        last = next;
    }
    bound("its brackets are too deep, in levels", deepest, MOST_NESTED)?;
    bound("it has too many conditionals (? :)", conditionals, MOST_CONDITIONALS)?;
    bound("it has too many operators", operators, MOST_OPERATORS)
}

/// The source without what strings and comments say. Of a source that doesn't end where it should, what is left counts
/// as a string: the parser refuses it.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let after = rest.get(next.len_utf8()..).unwrap_or_default();
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            // What stands before and after a comment are two tokens.
            code.push('\n');
        } else if next == '"' || next == '\'' {
            let is_raw = code.ends_with(['r', 'R']);
            rest = after_string(rest, next, is_raw);
            code.push('0');
        } else {
            code.push(next);
            rest = after;
        }
    }
    code
}

/// What follows a string that begins here.
fn after_string(text: &str, quote: char, is_raw: bool) -> &str {
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let single = quote.to_string();
    let end = if text.starts_with(&triple) { triple } else { single };
    let mut rest = text.get(end.len()..).unwrap_or_default();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(&end) {
            return after;
        }
        let mut chars = rest.chars();
        if chars.next() == Some('\\') && !is_raw {
            chars.next();
        }
        rest = chars.as_str();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_not_code() {
        for (source, stays) in [
            ("a == '!!--((('", "a == 0"),
            ("a == \"\\\"((\" + b", "a == 0 + b"),
            ("a == '''it's ((''' && b", "a == 0 && b"),
            ("a == r'\\' && b", "a == r0 && b"),
            ("a // ((((\n&& b", "a \n&& b"),
            ("a == 'never ends ((", "a == 0"),
        ] {
            assert_eq!(code(source), stays, "{source}");
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let deep = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
        assert!(check(&deep(16)).is_ok());
        assert_eq!(
            check(&deep(17)).unwrap_err().to_string(),
            "its brackets are too deep, in levels: 17, and at most 16 are allowed"
        );
        assert!(check(&format!("a{}", ".b".repeat(161))).is_err());
        assert!(check(&"a".repeat(1025)).is_err());
        for source in ["!!a", "! ! a", "--1", "1 - -1", "a.?b", "a[?b]", "!// x\n!a"] {
            assert!(
                matches!(check(source), Err(ExpressionError::Unsupported(_))),
                "{source}"
            );
        }
        for source in ["!a && !b", "1 - 2 - 3", "a != b", "a ? b : c", "a - (-1)"] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }
}

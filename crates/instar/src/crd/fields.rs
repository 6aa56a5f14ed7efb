//! Which objects would lose fields to a definition that has fewer of them.

use std::collections::BTreeSet;

/// So many objects are named.
const NAMED: usize = 10;

/// The objects that would lose fields, the first of them with these.
#[derive(Debug, Default)]
pub(super) struct Losses {
    named: Vec<String>,
    count: usize,
}

impl Losses {
    /// Notes what an object would lose.
    pub(super) fn note(&mut self, object: impl FnOnce() -> String, fields: &BTreeSet<String>) {
        if fields.is_empty() {
            return;
        }
        self.count += 1;
        if self.named.len() < NAMED {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            self.named.push(format!("{} ({})", object(), fields.join(", ")));
        }
    }

    /// The first objects, and how many more there are; nothing where no object loses anything.
    pub(super) fn listed(mut self) -> Option<Vec<String>> {
        match self.count.saturating_sub(self.named.len()) {
            0 => {}
            1 => self.named.push("and 1 more object".to_owned()),
            more => self.named.push(format!("and {more} more objects")),
        }
        (self.count > 0).then_some(self.named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_objects_are_named_and_the_others_counted() {
        let fields = ["spec.a".to_owned(), "status.b".to_owned()].into();
        let losses = |count: usize| {
            let mut losses = Losses::default();
            for object in 0..count {
                losses.note(|| format!("ClusterUpgrade n/{object}"), &fields);
                losses.note(|| "none".to_owned(), &BTreeSet::new());
            }
            losses.listed()
        };
        assert_eq!(losses(0), None);
        assert_eq!(
            losses(1),
            Some(vec!["ClusterUpgrade n/0 (spec.a, status.b)".to_owned()])
        );
        let many = losses(12).unwrap();
        assert_eq!((many.len(), many[10].as_str()), (11, "and 2 more objects"));
    }
}

//! Texts that many objects have.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The least number of texts at which those that nobody has any more are dropped.
const LEAST: usize = 1024;

/// Each of the texts once, for as long as an object has it.
#[derive(Debug, Default)]
pub struct SharedTexts(Mutex<Texts>);

#[derive(Debug, Default)]
struct Texts {
    known: HashSet<Arc<str>>,
    /// At so many, those that nobody has are dropped.
    most: usize,
}

impl SharedTexts {
    /// Puts the known text in the place of one that is the same.
    pub fn share(&self, text: &mut Arc<str>) {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = texts.known.get(text) {
            *text = Arc::clone(known);
            return;
        }
        if texts.known.len() >= texts.most {
            texts.known.retain(|text| Arc::strong_count(text) > 1);
            texts.most = LEAST.max(texts.known.len() * 2);
        }
        texts.known.insert(Arc::clone(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(texts: &SharedTexts) -> usize {
        texts.0.lock().unwrap().known.len()
    }

    #[test]
    fn the_same_text_is_there_once() {
        let texts = SharedTexts::default();
        let [mut first, mut second, mut other] = ["a", "a", "b"].map(Arc::<str>::from);
        for text in [&mut first, &mut second, &mut other] {
            texts.share(text);
        }
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!((&*other, known(&texts)), ("b", 2));
    }

    #[test]
    fn what_nobody_has_any_more_goes() {
        let texts = SharedTexts::default();
        let mut kept = Arc::from("kept");
        texts.share(&mut kept);
        for number in 0..10 * LEAST {
            texts.share(&mut Arc::from(number.to_string()));
        }
        assert!(known(&texts) <= LEAST, "{}", known(&texts));
        let mut again = Arc::from("kept");
        texts.share(&mut again);
        assert!(Arc::ptr_eq(&kept, &again));
    }
}

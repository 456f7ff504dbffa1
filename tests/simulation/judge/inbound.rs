//! What persons wrote: kept once however often it is told, and the application that is told of it hears so once.

use std::{collections::BTreeMap, sync::Arc};

use dispatch::{callbacks::Subject, engine::KeptNumbers};
use uuid::Uuid;

use super::{Broken, Fine, INBOUND, Judge};

/// A message that a person wrote.
#[derive(Clone, Copy, Debug)]
struct Written {
    id: Uuid,
    number: u64,
    /// Whether an application is told of it.
    is_told: bool,
}

/// What was written, by whose it is and what its provider calls it.
#[derive(Debug, Default)]
pub(super) struct Letters {
    written: BTreeMap<(Arc<str>, u64), Written>,
    /// The newest that ever was gone: that it is so may be forgotten in a death.
    gone: u64,
    /// Up to which number was looked whether an application is told.
    looked_to: u64,
}

fn want(holds: bool, detail: impl FnOnce() -> String) -> Fine {
    if holds { Ok(()) } else { Err(Broken { rule: INBOUND, detail: detail(), workflow: None }) }
}

impl Judge {
    /// What is old is gone, and nobody need be told of it.
    pub fn letters_gone(&mut self, kept: KeptNumbers) {
        self.letters.gone = self.letters.gone.max(kept.gone);
    }

    /// What its provider calls so was acknowledged: as new with this id and number, or as there already.
    pub fn wrote(
        &mut self,
        name: (Arc<str>, u64),
        is_told: bool,
        new: Option<(Uuid, u64)>,
        kept: KeptNumbers,
    ) -> Fine {
        self.letters_gone(kept);
        let letters = &mut self.letters;
        let before = letters.written.get(&name);
        let is_kept = before.is_some_and(|it| it.number > letters.gone);
        want(new.is_some() || before.is_some(), || format!("{name:?} is there already"))?;
        want(new.is_none() || !is_kept, || format!("{name:?} is new: {before:?}"))?;
        let Some((id, number)) = new else { return Ok(()) };
        let is_next = letters.written.values().all(|it| it.number < number);
        want(is_next, || format!("{name:?} is number {number}: {:?}", letters.written))?;
        letters.written.insert(name, Written { id, number, is_told });
        Ok(())
    }

    /// Whoever makes callbacks has just looked, while those were kept; `anew` if that was for the first time in its life.
    /// `made` tells the callbacks about a message.
    pub fn told_of_letters(
        &mut self,
        anew: bool,
        kept: KeptNumbers,
        mut made: impl FnMut(Uuid) -> Vec<Subject>,
    ) -> Fine {
        self.letters_gone(kept);
        let letters = &mut self.letters;
        let from = if anew { 0 } else { letters.looked_to };
        letters.looked_to = kept.last;
        for (name, it) in letters.written.iter().filter(|(_, it)| it.number > from) {
            let told = made(it.id);
            let is_gone = it.number <= letters.gone;
            want(is_gone || it.number <= kept.last, || format!("{name:?} is lost: {kept:?}"))?;
            let is_right = match it.is_told {
                true => told == [Subject::Inbound] || is_gone && told.is_empty(),
                false => told.is_empty(),
            };
            want(is_right, || format!("{name:?} is told of by {told:?}: {it:?}, {kept:?}"))?;
        }
        Ok(())
    }
}

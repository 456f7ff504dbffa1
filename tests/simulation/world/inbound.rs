//! Persons write to our senders, and what they wrote is told to an application: the production follower of inbound
//! messages, stepped beside that of the journal.

use dispatch::engine::HeardMessage;
use dispatch_contract::{Channel, ChannelSender, Content, Endpoint, InboundMessage};

use super::*;
use crate::scenario::{SENDER, person};

/// How many messages are kept.
pub(super) const MOST_KEPT: u64 = 3;

impl World<'_> {
    /// Now and then somebody writes, or is told of again, or what is old goes.
    pub(super) fn write_some(&mut self) -> Fine {
        let mut dice = Dice::of(self.scenario.seed, &[42, self.figures.batches]);
        let Some(service) = &self.service else { return Ok(()) };
        let Some(followed) = &service.followed else { return Ok(()) };
        let (inbound, now) = (followed.inbound(), service.clock.moment());
        if dice.percent(3) {
            inbound.trim(now.engine).map_err(|error| broken(STORE, &error))?;
            self.judge.letters_gone(*inbound.kept().borrow());
        }
        if !dice.percent(6) {
            return Ok(());
        }
        let tenant: Arc<str> = Arc::from(dice.one(&["default", "other"]));
        let name = dice.below(self.figures.letters + 3);
        // Of whom no application is named, none is told: there is no default one.
        let is_named = Dice::of(self.scenario.seed, &[43, name]).percent(70);
        let applications =
            if is_named { vec![callbacks::application_of(&tenant)] } else { Vec::new() };
        let is_told = is_named && callbacks::is_told_of_letters(&tenant);
        let heard = HeardMessage {
            tenant: Arc::clone(&tenant),
            applications,
            account: Arc::from("alpha/main"),
            former_accounts: Vec::new(),
            to: Endpoint::Id(SENDER.to_owned()),
            quoted: None,
            message: InboundMessage {
                id: format!("letter {name}"),
                from: person(name as u32),
                to: ChannelSender { channel: Channel::SMS, id: SENDER.to_owned() },
                content: vec![Content::Text("yes".to_owned())],
                quoted_id: None,
                quoted_attempt: None,
                provider_time: None,
            },
        };
        let failed = |error| broken(STORE, &error);
        let (new, _) = inbound.keep(vec![heard], now).map_err(failed)?;
        let kept = *inbound.kept().borrow();
        let newest = if new == 0 { None } else { Some(kept.last) };
        let newest = newest.map(|number| -> Result<_, Broken> {
            let page = inbound.after(None, number - 1, 1).map_err(failed)?;
            Ok(page.messages.into_iter().map(|(number, message)| (message.id, number)).next())
        });
        let newest = newest.transpose()?.flatten();
        self.figures.letters += u64::from(newest.is_some());
        self.judge.wrote((tenant, name), is_told, newest, kept)
    }
}

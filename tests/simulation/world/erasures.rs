//! What is personal is forgotten: on request, whatever dies meanwhile, and by age.

use dispatch::{contents::ContentsRetention, engine::MarkedErased};

use super::*;

/// How long whoever has something erased waits for the answer: a start goes on with it by itself.
const AGAIN_MS: u64 = 30_000;

impl World<'_> {
    /// Somebody has a workflow erased; taken up again until that is answered.
    pub(super) fn erase(&mut self, id: WorkflowId, round: u32) {
        if self.judge.is_destroyed(id) && round > 0 || round > 30 {
            return;
        }
        self.arrange(self.now + AGAIN_MS, Happening::Erase { id, round: round + 1 });
        let acks = Arc::clone(&self.acks);
        let reply = Box::new(move |answer| lock(&acks).push(Ack::Erased { id, answer }));
        let erasure = Uuid::from_u128(u128::from(round) + 1);
        let input = Command::Erase { erasure, workflows: vec![id], reply };
        if self.hand_in(input, vec![Given::Erase { id }]) {
            self.note(Some(id), || "an erasure arrives".to_owned());
        }
    }

    /// That it is marked is durable: its key goes.
    pub(super) fn erased(
        &mut self,
        id: WorkflowId,
        answer: &Result<MarkedErased, EngineError>,
    ) -> Fine {
        self.judge.erased(id, answer)?;
        let Some(case) = self.judge.cases.get(&id) else { return Ok(()) };
        let slot = case.record.contents.slot;
        let keys = Arc::clone(self.judge.contents.keys());
        keys.destroy(Family::Workflow, &[slot]).map_err(|error| broken(STORE, &error))?;
        self.judge.destroyed(id);
        self.figures.erased += 1;
        self.note(Some(id), || "its key is destroyed".to_owned());
        Ok(())
    }

    /// Keys of what has ended long ago are destroyed, and no others.
    pub(super) fn age(&mut self) -> Fine {
        let (Some(store), Some(service)) = (&self.store, &mut self.service) else { return Ok(()) };
        let reader = mortal::kept(store).reader();
        let now = service.clock.moment().engine;
        let kept = ContentsRetention {
            usual: Duration::from_millis(self.scenario.retention_ms / 2),
            ..ContentsRetention::default()
        };
        let contents = Arc::clone(&self.judge.contents);
        let aged = service.ages.run(&contents, &*reader, now, &kept, Duration::MAX);
        if let Some(error) = aged.failed {
            return Err(broken(STORE, &error));
        }
        if aged.keys > 0 {
            self.figures.aged += aged.keys as u64;
            self.judge.aged(now.0, self.scenario.retention_ms / 2)?;
        }
        Ok(())
    }
}

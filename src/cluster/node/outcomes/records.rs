//! What the engine is asked about idempotent requests, and what it answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::super::{Desk, Link, LocalNode, LostBy, Purpose, WINDOW};
use super::{Asked, End, FIRST_PAUSE, Open, OpenId, State, Told};
use crate::cluster::engine::{Answer, EngineFailed, Request};
use crate::cluster::outcomes::{OutcomeAnswer, OutcomeRequest, OutcomeStep};
use crate::session::{Begun, Instance, Scope};
use crate::time::Instant;

impl LocalNode {
    /// Asks what is due. The node takes part, and the engine answers.
    pub(in crate::cluster::node) fn run_outcomes(&mut self, now: Instant) {
        while let Some(outcomes) = &mut self.outcomes
            && outcomes.attaching < WINDOW
            && let Some((at, instance)) = outcomes.due.first().copied()
            && at <= now
        {
            outcomes.due.remove(&(at, instance));
            let fresh = Scope(outcomes.scopes.next());
            let Some(client) = outcomes.clients.get_mut(&instance) else { continue };
            let Link::Member(run) = &self.link else { return };
            let data = client.data.unwrap_or(run.lease.data);
            (client.due, client.is_asked) = (None, true);
            outcomes.attaching += 1;
            let step = OutcomeStep::Attach { fresh, data };
            self.ask_about(now, Asked::Attach(instance), instance, step);
        }
        while let Some(outcomes) = self.outcomes.as_mut().filter(|outcomes| outcomes.may_send_end())
            && let Some(number) = outcomes.unsent.pop_first()
        {
            let Some(End { instance, scope, token, begun, executed }) =
                outcomes.ends.get(&number).cloned()
            else {
                continue;
            };
            let step = match executed {
                Some(outcome) => OutcomeStep::Finish { scope, token, begun, outcome },
                None => OutcomeStep::Undo { scope, token, begun },
            };
            self.ask_about(now, Asked::End(number), instance, step);
        }
        while let Some(outcomes) = &mut self.outcomes
            && let Some((at, id)) = outcomes.polls.first().copied()
            && at <= now
        {
            outcomes.polls.remove(&(at, id));
            let Some(open) = outcomes.open.get_mut(&id) else { continue };
            let State::Waiting { pause, .. } = open.state else { continue };
            open.state = State::Parked;
            if now.saturating_since(open.since) >= outcomes.config.window {
                // Its handler may hang for ever.
                outcomes.open.remove(&id);
                self.begun(id, Begun::Unknown);
            } else {
                self.ask_to_begin(now, id, Some(pause));
            }
        }
    }

    /// Asks whether to execute a request, unless it runs here. `pause` is that before the next time, if it was asked
    /// before.
    pub(super) fn ask_to_begin(&mut self, now: Instant, id: OpenId, pause: Option<Duration>) {
        let number = self.number + 1;
        let Some(outcomes) = &mut self.outcomes else { return };
        let Some(open) = outcomes.open.get_mut(&id) else { return };
        let (instance, token, content) = (open.instance, open.token, open.content);
        let scope = outcomes.clients.get(&instance).and_then(|client| client.scope);
        let Some(scope) = open.scope.or(scope) else {
            outcomes.open.remove(&id);
            return self.begun(id, Begun::NotNow);
        };
        // It begins in this one, or not at all.
        open.scope = Some(scope);
        if let Some(runs) = outcomes.local.get(&(scope, token))
            && let Some(same) = outcomes.open.get(runs).map(|runs| runs.content == content)
        {
            if !same {
                outcomes.open.remove(&id);
                return self.begun(id, Begun::OtherRequest);
            }
            outcomes.followers.insert((scope, token, id));
            if let Some(open) = outcomes.open.get_mut(&id) {
                open.state = State::Following { scope };
            }
            return;
        }
        if let Some(open) = outcomes.open.get_mut(&id) {
            open.state = State::Asked { number, pause };
        }
        let asked = Asked::Begin { of: id, instance, scope, token, number };
        self.ask_about(now, asked, instance, OutcomeStep::Begin { scope, token, content });
    }

    fn ask_about(&mut self, now: Instant, asked: Asked, instance: Instance, step: OutcomeStep) {
        let (Link::Member(run), Some(outcomes)) = (&self.link, &self.outcomes) else { return };
        self.number += 1;
        let request = OutcomeRequest {
            instance,
            epoch: run.lease.epoch,
            number: self.number,
            membership: run.membership.clone(),
            limits: outcomes.limits,
            step,
        };
        self.ask_engine(now, Purpose::Outcome(asked), Request::Outcome(Box::new(request)));
    }

    pub(in crate::cluster::node) fn outcome_answered(
        &mut self,
        now: Instant,
        asked: Asked,
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        let answer = match answer {
            Ok(Answer::Outcome(OutcomeAnswer::Fenced)) => {
                // It fails with all others.
                return self.lose(now, LostBy::Fenced, desk);
            }
            Ok(Answer::Outcome(answer)) => Some(answer),
            Ok(_) | Err(EngineFailed) => None,
        };
        let has_failed = answer.is_none();
        match asked {
            Asked::Attach(instance) => self.attached(now, instance, answer),
            Asked::Begin { of, instance, scope, token, number } => {
                let undo = End { instance, scope, token, begun: number, executed: None };
                self.asked_to_begin(now, of, undo, answer);
            }
            Asked::End(number) => {
                if let Some(outcomes) = &mut self.outcomes {
                    if has_failed && outcomes.ends.contains_key(&number) {
                        outcomes.unsent.insert(number);
                    } else {
                        outcomes.take_end(number);
                    }
                }
            }
        }
        if has_failed {
            self.trip(now, desk);
        }
    }

    /// The engine has a record of a client, or not.
    fn attached(&mut self, now: Instant, instance: Instance, answer: Option<OutcomeAnswer>) {
        let Some(outcomes) = &mut self.outcomes else { return };
        outcomes.attaching = outcomes.attaching.saturating_sub(1);
        let Some(client) = outcomes.clients.get_mut(&instance) else { return };
        client.is_asked = false;
        let next = now + outcomes.limits.renewed_after();
        if let Some(OutcomeAnswer::OtherData(data)) = answer {
            (client.data, client.scope) = (Some(data), None);
            return outcomes.schedule(instance, now);
        }
        let Some(OutcomeAnswer::Attached { scope }) = answer else {
            // The engine has answered that it cannot, or is asked as soon as it answers again.
            client.scope = None;
            outcomes.schedule(instance, if answer.is_some() { next } else { now });
            self.refuse_parked(instance);
            return self.tell_untold(instance);
        };
        client.scope = Some(scope);
        let connections = client.connections.clone();
        outcomes.schedule(instance, next);
        for id in connections {
            let Some(outcomes) = &mut self.outcomes else { return };
            let Some(connection) = outcomes.connections.get_mut(&id) else { continue };
            let before = connection.told;
            connection.told = match before {
                Told::NoWord => Told::Scope(scope),
                Told::Nothing(_) => Told::Nothing(Some(scope)),
                Told::Scope(_) => before,
            };
            let told = connection.told;
            if told != before {
                self.tell_kept(id, Some(scope));
            }
            for id in self.parked(id) {
                if let Told::Scope(told) = told
                    && told != scope
                {
                    if let Some(outcomes) = &mut self.outcomes {
                        outcomes.open.remove(&id);
                    }
                    self.refuse_stale(id);
                } else {
                    self.ask_to_begin(now, id, None);
                }
            }
        }
    }

    /// The engine says whether to execute a request. `undo` is what has to be said if that is not known.
    fn asked_to_begin(
        &mut self,
        now: Instant,
        id: OpenId,
        undo: End,
        answer: Option<OutcomeAnswer>,
    ) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let (scope, token, number) = (undo.scope, undo.token, undo.begun);
        let pause = match outcomes.open.get(&id) {
            Some(Open { state: State::Asked { number: asked, pause }, .. }) if *asked == number => {
                Some(*pause)
            }
            _ => None,
        };
        let Some(pause) = pause else {
            // Nobody waits for it any more.
            if matches!(answer, None | Some(OutcomeAnswer::Begun(Begun::Fresh))) {
                outcomes.push_end(undo);
            }
            return;
        };
        let begun = match answer {
            Some(OutcomeAnswer::Begun(Begun::Fresh)) => {
                if let Some(open) = outcomes.open.get_mut(&id) {
                    open.state = State::Running { scope, number };
                }
                outcomes.running.insert((id.0, token), id);
                outcomes.local.insert((scope, token), id);
                return self.begun(id, Begun::Fresh);
            }
            Some(OutcomeAnswer::Begun(begun)) => begun,
            Some(OutcomeAnswer::Running { .. }) => {
                return outcomes.wait(now, id, pause.unwrap_or(FIRST_PAUSE));
            }
            Some(OutcomeAnswer::NoScope) => {
                outcomes.open.remove(&id);
                let told = outcomes.connections.get(&id.0).map(|connection| connection.told);
                self.forget_scope(now, undo.instance, scope);
                return match told {
                    Some(Told::Scope(told)) if told == scope => self.refuse_stale(id),
                    _ => self.begun(id, Begun::NotNow),
                };
            }
            // It may have been executed before, as far as this node knows.
            Some(_) if pause.is_some() => Begun::Unknown,
            Some(_) => Begun::NotNow,
            None => {
                outcomes.push_end(undo);
                match pause {
                    Some(pause) => return outcomes.wait(now, id, pause),
                    None => Begun::NotNow,
                }
            }
        };
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.open.remove(&id);
        }
        self.begun(id, begun);
    }

    /// The record of a client is gone. Another one is made.
    fn forget_scope(&mut self, now: Instant, instance: Instance, scope: Scope) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let Some(client) = outcomes.clients.get_mut(&instance) else { return };
        if client.scope == Some(scope) {
            client.scope = None;
            if !client.is_asked {
                outcomes.schedule(instance, now);
            }
        }
    }

    /// The engine is away: nobody waits for a scope.
    pub(in crate::cluster::node) fn refuse_outcomes(&mut self) {
        let Some(outcomes) = &self.outcomes else { return };
        let without = outcomes.clients.iter().filter(|(_, client)| client.scope.is_none());
        let without: Vec<_> = without.map(|(instance, _)| *instance).collect();
        for instance in without {
            self.refuse_parked(instance);
            self.tell_untold(instance);
        }
    }

    /// The run of the node is over: what it has begun is not known, and what it has asked is not executed.
    pub(in crate::cluster::node) fn lose_outcomes(&mut self, now: Instant) {
        let Some(outcomes) = &mut self.outcomes else { return };
        outcomes.attaching = 0;
        outcomes.ends.clear();
        outcomes.unsent.clear();
        outcomes.end_bytes = 0;
        outcomes.polls.clear();
        outcomes.followers.clear();
        outcomes.running.clear();
        outcomes.local.clear();
        outcomes.due.clear();
        let open = mem::take(&mut outcomes.open);
        for (instance, client) in &mut outcomes.clients {
            (client.scope, client.is_asked, client.due) = (None, false, Some(now));
            outcomes.due.insert((now, *instance));
        }
        for (id, Open { state, .. }) in open {
            match state {
                State::Running { .. } => {}
                State::Parked | State::Asked { pause: None, .. } => self.begun(id, Begun::NotNow),
                State::Asked { .. } | State::Waiting { .. } | State::Following { .. } => {
                    self.begun(id, Begun::Unknown);
                }
            }
        }
        self.refuse_outcomes();
    }
}

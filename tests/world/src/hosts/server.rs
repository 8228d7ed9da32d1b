//! The loop around a host, and its application.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wwr::server::{self, Protocol, RequestId, SessionEvent};
use wwr::{Instant, Name, Payload, SessionInfo, UnixTime};
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, ServerConfig, SocketId};

use super::{HostMistake, Hosts, token_of};
use crate::event::millis;
use crate::invariants::Invariant;
use crate::setup::PROTOCOLS;

/// How long a handler takes that is in no hurry.
const LATE: Duration = millis(3000);

/// More than may ever wait to be sent to a client: what counts as too much, one message, and pongs.
const MOST: usize = 2 * 128 * 1024 + 80_000;

pub(super) struct Server {
    pub(super) host: Host,
    /// The link of each socket.
    links: BTreeMap<SocketId, u64>,
    /// Sockets that the system has named as readable, and that were not found empty since.
    readable: BTreeSet<SocketId>,
    /// What the loop looks at next.
    work: Vec<SocketId>,
    /// Replies that come later.
    later: BTreeMap<(Instant, u64), (SocketId, RequestId, Payload)>,
    logins: BTreeMap<SocketId, Vec<(RequestId, Payload)>>,
    /// The connections of which the application knows.
    pub(super) connected: BTreeSet<SocketId>,
    has_stopped: bool,
    count: u64,
}

impl Server {
    pub(super) fn new(now: Instant, protocol: Protocol) -> Self {
        let mut config = ServerConfig::default();
        config.connection.protocol = protocol;
        config.limits.max_handshakes = 8;
        // These settings are valid.
        let Ok(host) = Host::new(config, now, UnixTime::from_seconds(1_800_000_000)) else {
            unreachable!("the settings are valid")
        };
        Self {
            host,
            links: BTreeMap::new(),
            readable: BTreeSet::new(),
            work: Vec::new(),
            later: BTreeMap::new(),
            logins: BTreeMap::new(),
            connected: BTreeSet::new(),
            has_stopped: false,
            count: 0,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let later = self.later.keys().next().map(|(at, _)| *at);
        [self.host.next_timeout(), later].into_iter().flatten().min()
    }

    /// Something was received on a socket, or its end.
    pub(super) fn is_readable(&mut self, id: SocketId) {
        self.readable.insert(id);
        self.work.push(id);
    }

    /// A socket takes output again.
    pub(super) fn is_writable(&mut self, id: SocketId) {
        self.work.push(id);
    }

    pub(super) fn accepted(&mut self, id: SocketId, link: u64) {
        self.links.insert(id, link);
        self.is_readable(id);
    }
}

impl Hosts {
    /// The process ends, and another one takes its place. What was in memory is lost.
    pub(super) fn restart(&mut self) {
        let protocol = self.dice.choose(&PROTOCOLS);
        self.server = Server::new(self.now, protocol);
        for link in self.links.values_mut() {
            link.id = None;
            link.down.close(self.now, &mut self.dice);
        }
    }

    /// One turn of the loop. Returns whether there was something to do.
    pub(super) fn serve(&mut self) -> bool {
        let work = std::mem::take(&mut self.server.work);
        if work.is_empty() && !self.server.host.has_work() {
            return false;
        }
        work.iter().for_each(|id| self.read(*id));
        self.handle();
        work.iter().for_each(|id| self.write(*id));
        while let Some(id) = self.server.host.poll_output() {
            self.write(id);
            if self.may_read(id) && self.mistake != Some(HostMistake::ForgetsToRead) {
                self.server.work.push(id);
            }
        }
        if self.server.has_stopped {
            self.restart();
        }
        true
    }

    /// Does what is due.
    pub(super) fn server_due(&mut self) {
        let (now, is_mistaken) = (self.now, self.mistake == Some(HostMistake::NoTimeouts));
        if self.server.host.next_timeout().is_some_and(|due| due <= now) && !is_mistaken {
            self.server.host.handle_timeout(now);
        }
        let next = self.server.host.next_timeout();
        self.check(next.is_none_or(|next| next > now), Invariant::DeadlinesForward, || {
            format!("the host is due at {next:?}, and it is {now:?}")
        });
        while let Some(first) = self.server.later.first_entry()
            && first.key().0 <= now
        {
            let (id, request, payload) = first.remove();
            // Its client may have gone.
            let _ = self.server.host.reply(now, id, request, Ok(payload));
        }
    }

    fn may_read(&self, id: SocketId) -> bool {
        self.server.readable.contains(&id) && self.server.host.wants_input(id)
    }

    fn read(&mut self, id: SocketId) {
        if !self.may_read(id) {
            return;
        }
        let Some((_, link)) = self.link_of(id) else { return };
        let is_at_end = link.up.has_ended();
        if is_at_end || !link.up.has_arrived() {
            self.server.readable.remove(&id);
            if is_at_end {
                self.server.host.end_of_input(id);
            }
            return;
        }
        let (mistake, now) = (self.mistake, self.now);
        let Some(link) = self.server.links.get(&id).and_then(|link| self.links.get_mut(link))
        else {
            return;
        };
        let piece = link.up.read(&mut self.dice, mistake);
        link.up.is_full = false;
        self.server.host.received(now, id, &piece);
        self.server.work.push(id);
    }

    fn write(&mut self, id: SocketId) {
        let (now, mistake) = (self.now, self.mistake);
        let Some(link) = self.server.links.get(&id).and_then(|link| self.links.get_mut(link))
        else {
            return;
        };
        let host = &mut self.server.host;
        let backlog = host.socket(id).map_or(0, |socket| socket.backlog());
        while !host.output(id).is_empty() {
            let mut sent = link.down.write(now, host.output(id), &mut self.dice);
            link.down.is_full = sent == 0;
            if mistake == Some(HostMistake::SentTooMuch) && self.dice.below(1000) < 10 {
                sent += 1;
            }
            host.sent(now, id, sent);
            if sent == 0 {
                break;
            }
        }
        match host.disposition(id) {
            Disposition::Keep => {}
            Disposition::ShutDownWrite => link.down.close(now, &mut self.dice),
            Disposition::Close => {
                link.down.close(now, &mut self.dice);
                link.id = None;
                host.closed(now, id);
                self.server.links.remove(&id);
                self.server.readable.remove(&id);
            }
        }
        self.check(backlog <= MOST, Invariant::QueuesBounded, || {
            format!("{backlog} bytes wait for {id:?}")
        });
    }

    fn link_of(&self, id: SocketId) -> Option<(u64, &super::link::Link)> {
        let link = *self.server.links.get(&id)?;
        Some((link, self.links.get(&link)?))
    }

    /// The network has failed.
    pub(super) fn server_loses(&mut self, id: SocketId) {
        self.server.host.closed(self.now, id);
        self.server.links.remove(&id);
        self.server.readable.remove(&id);
    }

    /// Sees that nothing is left that the loop could do.
    pub(super) fn check_nothing_forgotten(&mut self) {
        let ids: Vec<_> = self.server.links.keys().copied().collect();
        for id in ids {
            let Some((_, link)) = self.link_of(id) else { continue };
            let (waits, room) = (!self.server.host.output(id).is_empty(), link.down.room());
            let arrived = link.up.has_arrived() && self.may_read(id);
            let socket = self.server.host.socket(id).map(|socket| format!("{socket:?}"));
            self.check(!(waits && room > 0), Invariant::NothingForgotten, || {
                format!("{socket:?} has output, and the pipe has room for {room} bytes")
            });
            self.check(!arrived, Invariant::NothingForgotten, || {
                format!("{socket:?} wants what has arrived")
            });
        }
    }

    /// The application.
    fn handle(&mut self) {
        while let Some(event) = self.server.host.poll_event(self.now) {
            match event {
                HostEvent::Socket { id, event } => self.happened(id, event),
                HostEvent::Stopped => self.server.has_stopped = true,
                _ => {}
            }
        }
    }

    fn happened(&mut self, id: SocketId, event: Event) {
        let now = self.now;
        match event {
            Event::Connected => {
                self.note(format_args!("{id:?} is there"));
                let is_new = self.server.connected.insert(id);
                self.check(is_new, Invariant::ConnectionsEndOnce, || format!("{id:?}: twice"));
            }
            Event::Disconnected(end) => {
                self.note(format_args!("{id:?} has ended: {end:?}"));
                let was_there = self.server.connected.remove(&id);
                self.server.logins.remove(&id);
                self.check(was_there, Invariant::ConnectionsEndOnce, || {
                    format!("{id:?} ends, and was not there: {end:?}")
                });
            }
            Event::Request(request) => {
                let is_there = self.server.connected.contains(&id);
                self.check(is_there, Invariant::ConnectionsEndOnce, || {
                    format!("{id:?} has a request, and is not there")
                });
                self.requested(id, request);
            }
            Event::Session(SessionEvent::Created(..) | SessionEvent::CreateFailed(_)) => {
                self.note(format_args!("{id:?} has a session"));
                let waiting = self.server.logins.entry(id).or_default();
                if !waiting.is_empty() {
                    let (request, payload) = waiting.remove(0);
                    let _ = self.server.host.reply(now, id, request, Ok(payload));
                }
            }
            _ => {}
        }
    }

    fn requested(&mut self, id: SocketId, request: server::Request) {
        let now = self.now;
        let payload = request.content.clone().into_payload();
        if let Some(token) = token_of(request.content.payload()) {
            self.arrived(token);
        }
        match request.content.name() {
            b"login" => {
                self.server.count += 1;
                let mut entropy = [0; 48];
                entropy[..8].copy_from_slice(&self.dice.number().to_be_bytes());
                let info = SessionInfo::new().public("number", self.server.count.to_string());
                if self.server.host.create_session(now, id, entropy, info).is_ok() {
                    self.server.logins.entry(id).or_default().push((request.id, payload));
                    return;
                }
            }
            b"late" => {
                self.server.count += 1;
                let at = now + self.dice.up_to(LATE);
                self.server.later.insert((at, self.server.count), (id, request.id, payload));
                return;
            }
            b"signals" => {
                let name = Name::new("news").unwrap_or_default();
                for _ in 0..50 {
                    // One that reads too slowly gets fewer.
                    let _ = self.server.host.signal(now, id, &name, &payload);
                }
            }
            b"leave" => self.server.host.close(now, id),
            _ => {}
        }
        // It may have gone meanwhile.
        let _ = self.server.host.reply(now, id, request.id, Ok(payload));
    }
}

//! A host, and clients of bytes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use wwr::UnixTime;
use wwr::server::Protocol;
use wwr::server::gate::Answer;
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, HandshakeOptions, ServerConfig, SocketId};

use super::{Accepts, NOW};

pub(crate) const HANDSHAKE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQEBAQEBAQEBAQEBAQEBAQ==\r\n\r\n";

/// What an application says to a request.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Decision {
    Allow,
    /// An answer of its own, with this status, maybe the last on its socket.
    Answer {
        status: u16,
        closes: bool,
    },
}

/// A server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) protocol: Protocol,
    pub(crate) decision: Option<Decision>,
}

/// What a client was to the application, and what it was sent.
type Seen = (Vec<String>, Vec<u8>);

impl Setting {
    fn host(self) -> Host {
        let mut config = ServerConfig::default();
        config.connection.protocol = self.protocol;
        config.connection.max_message_size = 8192;
        config.asks_application = self.decision.is_some();
        config.limits.receive_chunk = 256;
        Host::new(config, NOW, UnixTime::from_seconds(0)).unwrap()
    }

    /// Serves clients that send these pieces, in turns. Returns what was seen of each.
    pub(crate) fn run(self, clients: &[&[&[u8]]], accepts: &[u8]) -> Vec<Seen> {
        let mut host = self.host();
        let mut accepts = Accepts::new(accepts);
        let mut sockets = Vec::new();
        for number in 0..clients.len() {
            // Of addresses of their own: what comes from one address belongs together.
            let from = IpAddr::V4(Ipv4Addr::new(192, 0, 2, number as u8));
            sockets.push((host.accepted(NOW, from).0, Seen::default()));
        }
        let most = clients.iter().map(|pieces| pieces.len()).max().unwrap_or(0);
        for turn in 0..most {
            for (pieces, (id, _)) in clients.iter().zip(&sockets) {
                let Some(piece) = pieces.get(turn) else { continue };
                let is_open = host.disposition(*id) == Disposition::Keep;
                assert!(host.wants_input(*id) || !is_open, "nothing that is sent holds it up");
                host.received(NOW, *id, piece);
            }
            self.settle(&mut host, &mut sockets, &mut accepts);
        }
        sockets.iter().for_each(|(id, _)| host.end_of_input(*id));
        self.settle(&mut host, &mut sockets, &mut accepts);
        let later = NOW + Duration::from_secs(3600);
        host.handle_timeout(later);
        assert!(host.next_timeout().is_none_or(|next| next > later));
        self.settle(&mut host, &mut sockets, &mut accepts);
        for (id, _) in &sockets {
            host.closed(later, *id);
        }
        assert_eq!((host.socket_count(), host.hub().admitted_count()), (0, 0));
        while let Some(event) = host.poll_event(later) {
            self.handle(&mut host, &mut sockets, event);
        }
        sockets.into_iter().map(|(_, seen)| seen).collect()
    }

    /// Goes on until nothing happens any more. An event is handled after each write.
    fn settle(self, host: &mut Host, sockets: &mut [(SocketId, Seen)], accepts: &mut Accepts<'_>) {
        loop {
            let event = host.poll_event(NOW);
            let mut moved = event.is_some();
            if let Some(event) = event {
                self.handle(host, sockets, event);
            }
            while host.poll_output().is_some() {}
            for (id, (_, sent)) in &mut *sockets {
                let output = host.output(*id);
                if !output.is_empty() {
                    let length = accepts.next(output.len());
                    sent.extend(&output[..length]);
                    host.sent(NOW, *id, length);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// The application.
    fn handle(self, host: &mut Host, sockets: &mut [(SocketId, Seen)], event: HostEvent) {
        let HostEvent::Socket { id, event } = event else { panic!("{event:?}") };
        let place = sockets.iter().position(|(socket, _)| *socket == id).unwrap();
        sockets[place].1.0.push(format!("{event:?}"));
        match event {
            Event::Request(request) => {
                let payload = request.content.into_payload();
                host.reply(NOW, id, request.id, Ok(payload)).unwrap();
            }
            Event::Handshake(_) => {
                // The second time, nothing is asked any more.
                for _ in 0..2 {
                    host.answer(NOW, id, self.decision.expect("it wants to be asked").answer());
                }
            }
            _ => {}
        }
    }
}

impl Decision {
    fn answer(self) -> Result<HandshakeOptions, Answer> {
        match self {
            Self::Allow => Ok(HandshakeOptions::default()),
            Self::Answer { status, closes } => {
                let last = if closes { "Close" } else { "x" };
                let headers = [("Connection", last.into()), ("Content-Length", "7".into())];
                Err(Answer { status, headers: headers.into(), body: "hello".into() })
            }
        }
    }
}

//! A client and a server of `wwr-socket`, with nothing between them but bytes.

use core::net::{IpAddr, Ipv4Addr};

use wwr::server::{HubAction, SessionEvent, StoreAnswer, Work};
use wwr::{Instant, Name, SessionInfo, SessionKey, UnixTime, Valid};
use wwr_socket::client::{ClientEvent, ClientSocket, Target};
use wwr_socket::server::{
    Control, Disposition, Event, Server, ServerConfig, ServerSocket, SocketId,
};

/// How many bytes go at once: frames and heads are cut everywhere.
const PIECE: usize = 7;

/// A login, whose reply comes once the session is there, then the end of the connection.
pub(crate) fn carries() -> Option<()> {
    let now = Instant::EPOCH;
    let mut server = Server::new(ServerConfig::default()).ok()?;
    let target = Target::parse("ws://localhost/").ok()?;
    let mut client = ClientSocket::new(&Valid::default(), target, 7);
    client.connect(now);
    let login = client.request(now, Name::new("login").ok()?, "ada".into(), None).ok()?;

    let (mut socket, mut sockets) = (None, 0);
    let (mut waiting, mut outcome) = (None, None);
    loop {
        let mut moved = false;
        while let Some(event) = client.poll_event(now) {
            moved = true;
            match event {
                ClientEvent::Connect => {
                    sockets += 1;
                    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    socket = Some(ServerSocket::new(SocketId(sockets), from, now, &server));
                    client.connected(now, [7; 16]);
                }
                ClientEvent::Disconnect => {
                    let mut ended: ServerSocket = socket.take()?;
                    client.mask(|| [1, 2, 3, 4]);
                    ended.received(now, client.output(), &mut server);
                    while ended.poll(now, &mut server) {
                        server.poll_event()?;
                    }
                    ended.closed(now, &mut server);
                }
                ClientEvent::Done { id, outcome: done } if id == login => outcome = Some(done),
                _ => {}
            }
        }
        if let Some(socket) = &mut socket {
            client.mask(|| [1, 2, 3, 4]);
            let piece = client.output().len().min(PIECE);
            socket.received(now, &client.output()[..piece], &mut server);
            client.sent(now, piece);
            while socket.poll(now, &mut server) {
                match server.poll_event()?.1 {
                    Event::Request(request) => {
                        let info =
                            SessionInfo::new().public("name", &*request.content.text().ok()?);
                        socket.connection(now, &mut server, |machine, out| {
                            let key = SessionKey::from_entropy([7; SessionKey::ENTROPY]);
                            machine.create_session(key, UnixTime::from_seconds(0), info, out).ok()
                        })??;
                        waiting = Some(request);
                    }
                    Event::Session(SessionEvent::Created(..)) => {
                        let request = waiting.take()?;
                        let echo = Ok(request.content.into_payload());
                        socket.reply(now, request.id, echo, &mut server).ok()?;
                    }
                    _ => {}
                }
            }
            let answer = socket.output().len().min(PIECE);
            client.received(now, &socket.output()[..answer]);
            socket.sent(now, answer, &mut server);
            if socket.disposition() == Disposition::Close {
                client.ended(now);
            }
            moved |= piece + answer > 0;
        }
        while let Some(control) = server.poll_control() {
            moved = true;
            match control {
                Control::Socket(_, action) => socket.as_mut()?.control(now, action, &mut server),
                Control::Host(HubAction::Store(job)) => {
                    let Work::Create(_) = job.work else { return None };
                    server.answered(now, job.id, StoreAnswer::Created(Ok(())));
                }
                Control::Host(_) => return None,
            }
        }
        if !moved {
            break;
        }
    }
    let name = client.client().session()?.info.value("name")?.as_str()? == "ada";
    let served = name && outcome == Some(Ok("ada".into())) && server.hub().connection_count() == 1;
    client.close(now);
    let ended = client.poll_event(now) == Some(ClientEvent::Disconnect);
    (served && ended).then_some(())
}

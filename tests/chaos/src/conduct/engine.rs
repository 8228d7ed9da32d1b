//! The engines of the nodes.

use std::io;

use wwr_engines::{Engine, Program, Watched};

/// One engine that keeps its data, or two of them with a sentinel.
pub(super) enum Engines {
    Single(Box<Engine>),
    Watched(Box<Watched>),
}

impl Engines {
    /// Starts them. `None` if there is no program.
    pub(super) fn start(watched: bool) -> Option<Self> {
        if watched {
            return Watched::start().map(Box::new).map(Self::Watched);
        }
        // If it is killed, it loses nothing that it has acknowledged: the system has it. The disk of a busy machine need
        // not be waited for.
        let arguments = ["--appendonly", "yes", "--appendfsync", "no"];
        let engine = Engine::with(Program::Redis, |_, _| arguments.map(str::to_string).into());
        engine.map(Box::new).map(Self::Single)
    }

    /// The only one, for what cannot be done with two.
    pub(super) fn single(&mut self) -> io::Result<&mut Engine> {
        match self {
            Self::Single(engine) => Ok(engine),
            Self::Watched(_) => Err(io::Error::other("this needs an engine without a sentinel")),
        }
    }

    pub(super) fn watched(&mut self) -> io::Result<&mut Watched> {
        match self {
            Self::Single(_) => Err(io::Error::other("this needs engines with a sentinel")),
            Self::Watched(watched) => Ok(watched),
        }
    }
}

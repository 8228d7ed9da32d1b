//! The engine of a cluster of nodes.

mod answer;
mod feed;
mod listen;
mod names;
mod outcomes;
mod wire;

use core::fmt;
use core::pin::Pin;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use redis::Value;
use wwr_async::cluster::{
    self, Answer, Audience, EngineError, EngineErrorKind, Epoch, HistoryRequest, HistoryStep, News,
    OutcomeRequest, Position, REMEMBERED, Request, SessionRequest, Step,
};
use wwr_async::{Runtime, ShortKey, StoreError};

use crate::config::RedisConfig;
use crate::engine::Engine;
use crate::fault::{self, Fault, Reason};
use crate::link::Link;
use crate::record::{self, BrokenRecord};
use crate::script::{self, Scripted};
use listen::Feed;
use names::Names;

static SESSION: LazyLock<Scripted> =
    LazyLock::new(|| Scripted::new(include_str!("cluster/session.lua")));
static HISTORY: LazyLock<Scripted> =
    LazyLock::new(|| Scripted::new(include_str!("cluster/history.lua")));
static NODE: LazyLock<Scripted> = LazyLock::new(|| Scripted::new(include_str!("cluster/node.lua")));
static SEND: LazyLock<Scripted> = LazyLock::new(|| Scripted::new(include_str!("cluster/send.lua")));
static FOLLOW: LazyLock<Scripted> =
    LazyLock::new(|| Scripted::new(include_str!("cluster/follow.lua")));

/// The longest [`RedisConfig::timeout`]. A request must not be under way for as long as engines remember what a node
/// without places has asked, which is a minute.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(20);

/// For how many milliseconds signals are kept at most: some 300 years. Engines refuse what is much more.
const LONGEST_AGE: u64 = 10_000_000_000_000;

/// What nodes of one service share, in Redis or Valkey: sessions, places and news, as an
/// [engine](wwr_async::cluster::Engine). Clones share the connection.
///
/// The [crate](crate#many-nodes) says what is stored, and what happens when the engine fails.
///
/// ```no_run
/// use std::time::Duration;
///
/// use wwr_async::Runtime;
/// use wwr_async::cluster::{Answer, Engine as _, EngineError, Request};
/// use wwr_redis::{Cluster, RedisConfig};
///
/// # async fn node<R: Runtime + Default>() -> Result<(), EngineError> {
/// let engine = Cluster::<R>::connect("redis://127.0.0.1/", RedisConfig::default()).await?;
/// let enter = Request::Enter { name: "node 1".into(), lease: Duration::from_secs(10) };
/// if let Answer::Lease(lease) = engine.perform(enter).await? {
///     println!("{} nodes are alive", lease.nodes.len());
///     while let Some(news) = engine.next_news(lease.epoch).await {
///         println!("{news:?}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Cluster<R> {
    shared: Arc<Shared<R>>,
}

/// The answer to come.
type Boxed<'a> = Pin<Box<dyn Future<Output = Result<Answer, EngineError>> + Send + 'a>>;

struct Shared<R> {
    link: Link<R>,
    names: Names,
    /// Milliseconds, 0 for never.
    expire_after: String,
    /// What the nodes hear that have entered here and are not known to be dead.
    feeds: Mutex<BTreeMap<Epoch, Arc<Feed>>>,
}

impl<R: Runtime> Cluster<R> {
    /// Connects to an engine, and checks that it can do what a cluster needs.
    ///
    /// # Errors
    ///
    /// [`EngineErrorKind::Invalid`] if a URL or a setting is wrong; otherwise as for requests.
    pub async fn connect(
        engine: impl Into<Engine>,
        config: RedisConfig,
    ) -> Result<Self, EngineError>
    where
        R: Default,
    {
        Self::connect_on(R::default(), engine, config).await
    }

    /// Connects like [`connect`](Self::connect). This runtime has the timers.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn connect_on(
        runtime: R,
        engine: impl Into<Engine>,
        config: RedisConfig,
    ) -> Result<Self, EngineError> {
        let cluster = Self::open_on(runtime, engine, config).await?;
        cluster.check().await?;
        Ok(cluster)
    }

    /// Prepares a cluster whose first call connects: for nodes that are to start while the engine is down.
    ///
    /// # Errors
    ///
    /// [`EngineErrorKind::Invalid`] if a URL or a setting is wrong.
    pub async fn open(engine: impl Into<Engine>, config: RedisConfig) -> Result<Self, EngineError>
    where
        R: Default,
    {
        Self::open_on(R::default(), engine, config).await
    }

    /// Prepares a cluster like [`open`](Self::open). This runtime has the timers.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn open_on(
        runtime: R,
        engine: impl Into<Engine>,
        config: RedisConfig,
    ) -> Result<Self, EngineError> {
        let link = Link::open(runtime, engine.into(), &config).await.map_err(invalid)?;
        if config.prefix.is_empty() || config.timeout > LONGEST_TIMEOUT {
            let message = "in a cluster of nodes, RedisConfig::prefix must not be empty, and \
                           RedisConfig::timeout has to be at most 20 s";
            return Err(EngineError::new(EngineErrorKind::Invalid, message));
        }
        if config.expire_after.is_some_and(|after| after < REMEMBERED) {
            let message = "in a cluster of nodes, RedisConfig::expire_after has to be at least 60 s, or none: \
                           sessions in use are confirmed less often";
            return Err(EngineError::new(EngineErrorKind::Invalid, message));
        }
        let expire_after = config.expire_after.map_or(0, script::millis).to_string();
        let names = Names::new(&config.prefix);
        let feeds = Mutex::default();
        Ok(Self { shared: Arc::new(Shared { link, names, expire_after, feeds }) })
    }

    /// Checks that the engine can be reached, and lets us read nodes and publish news.
    ///
    /// # Errors
    ///
    /// As for requests.
    pub async fn check(&self) -> Result<(), EngineError> {
        let names = &self.shared.names;
        // Nobody has such a channel.
        let publish = script::Request::publish(&format!("{}check", names.channels), b"");
        self.call("use the engine of the cluster", &publish).await?;
        // No node has this epoch.
        self.node("use the engine of the cluster", b"renew", b"0", Duration::ZERO).await.map(drop)
    }

    /// Returns how many news of this node were dropped because too many waited. `None` if the node has not entered
    /// here, or its run is over.
    pub fn dropped_news(&self, epoch: Epoch) -> Option<u64> {
        self.feeds().get(&epoch).map(|feed| feed.ears.queue.dropped())
    }

    async fn call(&self, what: &str, request: &script::Request) -> Result<Value, EngineError> {
        let called = self.shared.link.call(request).await;
        called.map_err(|fault| self.failed(what, request.verb, fault))
    }

    /// Runs a script. All of them answer a list of texts, the first of which is a word.
    async fn run(
        &self,
        what: &str,
        script: &Scripted,
        names: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        self.answer(what, &script::Request::script(script, names, arguments)).await
    }

    async fn answer(
        &self,
        what: &str,
        request: &script::Request,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        let answer = self.call(what, request).await?;
        redis::from_redis_value(answer).map_err(|_| self.unexpected(what))
    }

    async fn node(
        &self,
        what: &str,
        step: &[u8],
        who: &[u8],
        lease: Duration,
    ) -> Result<Answer, EngineError> {
        let names = &self.shared.names;
        let lease = lease.as_micros().min(u128::from(u32::MAX) * 1_000_000).to_string();
        let arguments: [&[u8]; 5] =
            [step, who, lease.as_bytes(), names.groups.as_bytes(), names.follows.as_bytes()];
        let reply = self.run(what, &NODE, &[&names.nodes], &arguments).await?;
        match answer::node(&reply) {
            Ok(answer) => Ok(answer),
            Err(Some(cause)) => Err(self.broken(what, cause)),
            Err(None) => Err(self.unexpected(what)),
        }
    }

    async fn session(&self, request: SessionRequest) -> Result<Answer, EngineError> {
        let SessionRequest { key, epoch, number, membership, history, step } = &request;
        let names = &self.shared.names;
        let what = format!("{} session {}", verb(step), ShortKey(key));
        let content = match step {
            Step::Create { session, .. } => record::write_new(session),
            Step::Join { now, .. } => Ok(record::time(*now).to_vec()),
            Step::Edit { info } => record::info(info).map(String::into_bytes),
            Step::CloseForAll { closing, .. } => Ok(vec![wire::closing(*closing)]),
            Step::Place { .. } | Step::Close | Step::Confirm { .. } => Ok(Vec::new()),
        };
        let content = content.map_err(|cause| {
            let message = format!(
                "cannot {what}: its info could not be read back; make it shorter, nest it less deeply"
            );
            EngineError::new(EngineErrorKind::Invalid, message).with_source(cause)
        })?;
        let (places, limit, known) = match step {
            Step::Create { places, .. } | Step::Place { places } => (*places, None, None),
            Step::Join { places, limit, .. } => (*places, *limit, None),
            Step::Confirm { places, limit, known } => (*places, *limit, Some(*known)),
            Step::CloseForAll { expected, .. } => (0, None, *expected),
            Step::Close | Step::Edit { .. } => (0, None, None),
        };
        let record = names.record(key);
        let digest = names.digest(&record);
        let mut alive = String::from(",");
        for epoch in &membership.alive {
            alive.push_str(&format!("{},", epoch.0));
        }
        let arguments: [&[u8]; 13] = [
            word(step).as_bytes(),
            &epoch.0.to_string().into_bytes(),
            &format!("{number:020}").into_bytes(),
            &membership.through.to_string().into_bytes(),
            alive.as_bytes(),
            self.shared.expire_after.as_bytes(),
            names.channels.as_bytes(),
            &wire::about(digest),
            &places.to_string().into_bytes(),
            &limit.map_or(0, core::num::NonZeroUsize::get).to_string().into_bytes(),
            &known.map_or(String::new(), |revision| revision.0.to_string()).into_bytes(),
            &content,
            &history.map_or(String::new(), |incarnation| incarnation.to_string()).into_bytes(),
        ];
        let feed = self.feed(*epoch);
        let asking = feed.as_ref().map(|feed| feed.ears.asking(digest, key));
        let all = Names::all(&record);
        let all = all.each_ref().map(String::as_str);
        let reply = self.run(&what, &SESSION, &all, &arguments).await?;
        let answer = answer::session(key, &reply);
        match answer.and_then(|answer| Ok((answer, answer::history_end(&reply)?))) {
            Ok((answer, end)) => {
                if let Some(asking) = asking {
                    asking.answered(&request, &answer);
                }
                Ok(match (answer, end) {
                    (answer, Some(end)) => Answer::WithHistory { answer, end },
                    (answer, None) => Answer::Session(answer),
                })
            }
            Err(Some(cause)) => Err(self.broken(&what, cause)),
            Err(None) => Err(self.unexpected(&what)),
        }
    }

    /// On the heap: what waits for the answer to one request is not to take the stack that all others need together.
    fn boxed_session(&self, request: SessionRequest) -> Boxed<'_> {
        Box::pin(self.session(request))
    }

    fn boxed_history(&self, request: HistoryRequest) -> Boxed<'_> {
        Box::pin(self.history(request))
    }

    fn boxed_outcome(&self, request: OutcomeRequest) -> Boxed<'_> {
        Box::pin(self.outcome(request))
    }

    async fn history(&self, request: HistoryRequest) -> Result<Answer, EngineError> {
        let HistoryRequest { key, epoch, incarnation, limits, step } = request;
        let names = &self.shared.names;
        let (word, verb) = match &step {
            HistoryStep::Append { .. } => ("append", "append to"),
            HistoryStep::Read { .. } => ("read", "read"),
        };
        let what = format!("{verb} the history of session {}", ShortKey(&key));
        let text = |number: u64| number.to_string().into_bytes();
        let rest: [Vec<u8>; 4] = match step {
            HistoryStep::Append { signal } => [signal.to_vec(), vec![], vec![], vec![]],
            HistoryStep::Read { after, most, max_bytes } => {
                let Position { incarnation, offset } = after;
                let most = text(most as u64);
                [text(incarnation), text(offset), most, text(max_bytes as u64)]
            }
        };
        let record = names.record(&key);
        let [first, second, third, fourth] = &rest;
        let arguments: [&[u8]; 13] = [
            word.as_bytes(),
            &text(epoch.0.get()),
            &text(incarnation),
            &text(limits.max_signals as u64),
            &text(limits.max_bytes as u64),
            &text(script::millis(limits.max_age).min(LONGEST_AGE)),
            self.shared.expire_after.as_bytes(),
            names.channels.as_bytes(),
            &wire::about(names.digest(&record)),
            first,
            second,
            third,
            fourth,
        ];
        let all = Names::all(&record);
        let all = all.each_ref().map(String::as_str);
        let reply = self.run(&what, &HISTORY, &all, &arguments).await?;
        match answer::history(&reply) {
            Ok(answer) => Ok(Answer::History(answer)),
            Err(Some(cause)) => Err(self.broken(&what, cause)),
            Err(None) => Err(self.unexpected(&what)),
        }
    }

    async fn send(
        &self,
        from: Epoch,
        to: &Audience,
        message: &[u8],
    ) -> Result<Answer, EngineError> {
        let names = &self.shared.names;
        let (kind, digest, concerned) = match to {
            Audience::Session(key) => {
                let record = names.record(key);
                let holders = Names::holders(&record);
                ("session", names.digest(&record).to_string(), vec![holders])
            }
            Audience::Group(name) => {
                let followers = format!("{}{name}", names.groups);
                ("group", String::new(), vec![names.nodes.clone(), followers])
            }
            Audience::All => ("all", String::new(), vec![names.nodes.clone()]),
        };
        let message = wire::message(from, to, &digest, message);
        let from = from.0.to_string();
        let arguments: [&[u8]; 4] =
            [kind.as_bytes(), from.as_bytes(), names.channels.as_bytes(), &message];
        let concerned: Vec<&str> = concerned.iter().map(String::as_str).collect();
        let what = "send to other nodes";
        let request = script::Request::script_in_order(&SEND, &concerned, &arguments);
        let reply = self.answer(what, &request).await?;
        answer::sent(&reply).ok_or_else(|| self.unexpected(what))
    }

    async fn follow(&self, word: &str, epoch: Epoch, group: &str) -> Result<Answer, EngineError> {
        let names = &self.shared.names;
        let epoch = epoch.0.to_string();
        let followers = format!("{}{group}", names.groups);
        let followed = format!("{}{epoch}", names.follows);
        let arguments: [&[u8]; 3] = [word.as_bytes(), epoch.as_bytes(), group.as_bytes()];
        let what = format!("{word} a group");
        self.run(&what, &FOLLOW, &[&names.nodes, &followers, &followed], &arguments).await?;
        Ok(Answer::Done)
    }

    /// Begins and ends what nodes hear, as an answer about nodes says.
    fn heard(&self, answer: &Answer, enters: bool, asked_for: Option<Epoch>) {
        let mut feeds = self.feeds();
        let is_over = |epoch: Epoch| match answer {
            Answer::Lease(lease) => lease.membership().is_dead(epoch),
            _ => Some(epoch) == asked_for,
        };
        feeds.retain(|epoch, feed| {
            let ends = is_over(*epoch);
            if ends {
                feed.ears.queue.close();
            }
            !ends
        });
        if let Answer::Lease(lease) = answer
            && enters
        {
            let channel = self.shared.names.channel(lease.epoch);
            feeds.insert(lease.epoch, Arc::new(Feed::new(channel)));
        }
    }

    fn feed(&self, epoch: Epoch) -> Option<Arc<Feed>> {
        self.feeds().get(&epoch).cloned()
    }

    fn feeds(&self) -> MutexGuard<'_, BTreeMap<Epoch, Arc<Feed>>> {
        // Nothing that is called meanwhile can panic.
        self.shared.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &str, verb: &str, fault: Fault) -> EngineError {
        let link = &self.shared.link;
        let message =
            format!("cannot {what}: {}", fault.describe(&link.engine, verb, link.timeout));
        let kind = match &fault {
            Fault::Late => EngineErrorKind::Unanswered,
            Fault::Unconnected { .. } => EngineErrorKind::Unreachable,
            Fault::Failed(answer) => match answer.reason {
                Reason::WrongType => EngineErrorKind::Broken,
                Reason::Memory => EngineErrorKind::Full,
                Reason::Password
                | Reason::Permission
                | Reason::ReadOnly
                | Reason::Loading
                | Reason::Cluster
                | Reason::NoScript => EngineErrorKind::Refused,
                _ => EngineErrorKind::Unanswered,
            },
        };
        let error = EngineError::new(kind, message);
        match fault.answer() {
            Some(answer) => error.with_source(answer),
            None => error,
        }
    }

    /// What is stored is left as it is.
    fn broken(&self, what: &str, cause: BrokenRecord) -> EngineError {
        let advice = match cause {
            BrokenRecord::Version(_) | BrokenRecord::Beside => {
                "is a node of a newer release using it?"
            }
            _ => "does anything else write to it?",
        };
        let engine = &self.shared.link.engine;
        let message = format!(
            "cannot {what}: what {engine} has stored for it is none of this version; {advice}"
        );
        EngineError::new(EngineErrorKind::Broken, message).with_source(cause)
    }

    fn unexpected(&self, what: &str) -> EngineError {
        let fault = Fault::Failed(fault::Answer::unexpected());
        self.failed(what, "EVALSHA", fault)
    }
}

impl<R: Runtime> cluster::Engine for Cluster<R> {
    async fn perform(&self, request: Request) -> Result<Answer, EngineError> {
        match request {
            Request::Enter { name, lease } => {
                let answer = self.node("enter", b"enter", name.as_bytes(), lease).await?;
                self.heard(&answer, true, None);
                Ok(answer)
            }
            Request::Renew { epoch, lease } => {
                let who = epoch.0.to_string();
                let what = "renew the lease of this node";
                let answer = self.node(what, b"renew", who.as_bytes(), lease).await?;
                self.heard(&answer, false, Some(epoch));
                Ok(answer)
            }
            Request::Retire { epoch } => {
                let who = epoch.0.to_string();
                let what = "end the lease of this node";
                let answer = self.node(what, b"retire", who.as_bytes(), Duration::ZERO).await?;
                self.heard(&answer, false, Some(epoch));
                Ok(answer)
            }
            Request::Session(request) => self.boxed_session(*request).await,
            Request::History(request) => self.boxed_history(*request).await,
            Request::Outcome(request) => self.boxed_outcome(*request).await,
            Request::Send { from, to, message } => self.send(from, &to, &message).await,
            Request::Follow { epoch, group } => self.follow("follow", epoch, &group).await,
            Request::Unfollow { epoch, group } => self.follow("unfollow", epoch, &group).await,
        }
    }

    async fn next_news(&self, epoch: Epoch) -> Option<News> {
        self.feed(epoch)?.next(&self.shared.link).await
    }
}

/// The word of a step in the script.
const fn word(step: &Step) -> &'static str {
    match step {
        Step::Create { .. } => "create",
        Step::Join { .. } => "join",
        Step::Place { .. } => "place",
        Step::Close => "close",
        Step::CloseForAll { .. } => "closeall",
        Step::Edit { .. } => "edit",
        Step::Confirm { .. } => "confirm",
    }
}

/// What a step does, for errors.
const fn verb(step: &Step) -> &'static str {
    match step {
        Step::Create { .. } => "create",
        Step::Join { .. } => "join",
        Step::Place { .. } => "set the places of",
        Step::Close | Step::CloseForAll { .. } => "close",
        Step::Edit { .. } => "edit",
        Step::Confirm { .. } => "confirm the places of",
    }
}

fn invalid(error: StoreError) -> EngineError {
    EngineError::new(EngineErrorKind::Invalid, error.to_string()).with_source(error)
}

impl<R> Clone for Cluster<R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<R> fmt::Debug for Cluster<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("engine", &self.shared.link.engine).finish_non_exhaustive()
    }
}

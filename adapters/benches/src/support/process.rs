//! A server in a process of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use data_encoding::HEXLOWER;
use futures_rustls::rustls::ClientConfig;
use rustix::param::clock_ticks_per_second;

use super::tls;

/// What the line begins with that has the certificate of a server.
const CERTIFICATE: &str = "certificate ";

/// A running server; killed when dropped. It also ends when its standard input does, so it does not
/// outlive this process however that ends.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    /// What clients need, if it speaks TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Process {
    /// Starts this program again with other arguments, and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--bench")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut process = Self { child, address, tls: None };
        for line in BufReader::new(output.ok_or(io::ErrorKind::BrokenPipe)?).lines() {
            let line = line?;
            let Some(certificate) = line.strip_prefix(CERTIFICATE) else {
                process.address.set_port(line.parse().map_err(io::Error::other)?);
                return Ok(process);
            };
            let certificate = HEXLOWER.decode(certificate.as_bytes()).map_err(io::Error::other)?;
            process.tls = Some(tls::client_config(certificate)?);
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients need, if it speaks TLS.
    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.clone()
    }

    /// Its number in the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time it has used, in user mode and in the kernel.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        cpu_time(&self.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time a process has used; `self` is this one.
pub(crate) fn cpu_time(process: &str) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program, which may have anything in it, ends with the last bracket; the state
    // comes next, then ten numbers, then the two.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(unreadable)?;
    let ticks: Vec<u64> = rest.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    let [user, system] = ticks[..] else { return Err(unreadable()) };
    let seconds = (user + system) as f64 / clock_ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}

pub(crate) fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc is not as expected")
}

/// Tells the parent where this server listens.
pub(crate) fn listens_on(address: SocketAddr) -> io::Result<()> {
    tell(&address.port().to_string())
}

/// Tells the parent that this server speaks TLS, and its certificate, before it listens.
pub(crate) fn has_certificate(certificate: &[u8]) -> io::Result<()> {
    tell(&format!("{CERTIFICATE}{}", HEXLOWER.encode(certificate)))
}

fn tell(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// Ends this process when the parent is gone.
pub(crate) fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
}

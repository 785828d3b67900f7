//! A real Redis as Debian packages it, on loopback, that keeps nothing; and as much of its protocol (RESP2) as a counter needs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::eventually;
use crate::paths::WorkDir;
use crate::process::{Process, Program};
use crate::server;

const PROGRAM: &str = "/usr/bin/redis-server";

/// A running Redis; it stops when dropped.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    _process: Process,
    _dir: WorkDir,
}

impl Redis {
    /// What of it is missing on this machine; `None` where it can be started.
    pub fn missing() -> Option<&'static str> {
        Some(PROGRAM).filter(|path| !Path::new(path).is_file())
    }

    /// Starts it.
    ///
    /// # Errors
    /// It does not start: with its log.
    pub fn start() -> Result<Self> {
        let dir = WorkDir::create("redis")?;
        // It takes no port 0.
        let port = server::listen(0)?.local_addr()?.port();
        let settings = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
        let log = dir.path().join("redis.log");
        let mut process = Process::start(Program {
            path: PathBuf::from(PROGRAM),
            arguments: settings.iter().map(OsString::from).chain([port.to_string().into()]).collect(),
            directory: dir.path().to_path_buf(),
            output: File::create(&log)?,
        })?;
        let is_ready = || Connection::open(port).is_ok();
        let ready = eventually(Duration::from_secs(10), || is_ready() || !matches!(process.exit(), Ok(None)));
        if !ready || !is_ready() {
            bail!("{PROGRAM} does not serve: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        Ok(Self { port, _process: process, _dir: dir })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.port)
    }
}

/// A connection to Redis.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut connection = Self(BufReader::new(stream));
        connection.send(&["PING"])?;
        ensure!(connection.line()? == "+PONG", "it is no Redis, or not ready");
        Ok(connection)
    }

    /// Sends a command whose reply is a list of whole numbers.
    ///
    /// # Errors
    /// Redis is gone, or replies something else.
    pub fn numbers(&mut self, command: &[&str]) -> Result<Vec<i64>> {
        let count = self.list(command)?;
        (0..count).map(|_| self.number(':')).collect()
    }

    /// Sends a command whose reply is a list of texts.
    ///
    /// # Errors
    /// Redis is gone, or replies something else.
    pub fn texts(&mut self, command: &[&str]) -> Result<Vec<String>> {
        let count = self.list(command)?;
        (0..count).map(|_| self.text()).collect()
    }

    /// Sends a command; how many members its reply has.
    fn list(&mut self, command: &[&str]) -> Result<usize> {
        self.send(command)?;
        self.number('*')
    }

    fn text(&mut self) -> Result<String> {
        let mut bytes = vec![0; self.number('$')?];
        self.0.read_exact(&mut bytes)?;
        ensure!(self.line()?.is_empty(), "the text is longer than announced");
        Ok(String::from_utf8(bytes)?)
    }

    /// The number of a line that begins with `kind`.
    fn number<T>(&mut self, kind: char) -> Result<T>
    where
        T: FromStr<Err = ParseIntError>,
    {
        let line = self.line()?;
        Ok(line.strip_prefix(kind).with_context(|| format!("no {kind}: {line}"))?.parse()?)
    }

    fn send(&mut self, command: &[&str]) -> Result<()> {
        let mut bytes = format!("*{}\r\n", command.len());
        for word in command {
            bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        Ok(self.0.get_mut().write_all(bytes.as_bytes())?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "Redis has hung up");
        Ok(line.trim_end().to_owned())
    }
}

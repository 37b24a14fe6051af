//! A connection to a server, as small as can be: commands, and their replies in RESP 2.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// The longest that a reply is waited for.
const REPLY_WITHIN: Duration = Duration::from_secs(60);

/// A connection to a server.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

/// What a server replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// A number.
    Integer(i64),
    /// Bytes, or a status.
    Bytes(Vec<u8>),
    /// An error within an array.
    Error(String),
    /// More than one.
    Array(Vec<Reply>),
}

impl Reply {
    /// The bytes, if they are text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Bytes(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The replies in an array; none in any other reply.
    #[must_use]
    pub fn array(&self) -> &[Self] {
        match self {
            Self::Array(replies) => replies,
            _ => &[],
        }
    }
}

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WITHIN))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command, and waits for the reply.
    ///
    /// # Errors
    /// The connection's, or the server's, with its text.
    pub fn command(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        let mut sent = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word = word.as_ref();
            sent.extend(format!("${}\r\n", word.len()).bytes());
            sent.extend_from_slice(word);
            sent.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&sent)?;
        match self.reply()? {
            Reply::Error(error) => Err(io::Error::other(error)),
            reply => Ok(reply),
        }
    }

    /// A field of `INFO` or `CLUSTER INFO`, or of any reply in lines of `field:value`.
    ///
    /// # Errors
    /// As of [`Connection::command`], or there is no such field.
    pub fn field(&mut self, words: &[&str], field: &str) -> io::Result<String> {
        let reply = self.command(words)?;
        let lines = reply.text().unwrap_or_default().lines();
        let mut values = lines.filter_map(|line| line.split_once(':'));
        let value = values.find(|(name, _)| *name == field).map(|(_, value)| value.to_owned());
        value.ok_or_else(|| io::Error::other(format!("{words:?} says no {field}")))
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        Ok(match kind {
            "+" => Reply::Bytes(rest.as_bytes().to_vec()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()?),
            "$" | "*" if rest == "-1" => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; number()? as usize + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Reply::Bytes(bytes)
            }
            "*" => Reply::Array((0..number()?).map(|_| self.reply()).collect::<Result<_, _>>()?),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, line)),
        })
    }
}

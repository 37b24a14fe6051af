//! Addresses at which there is no server, or none that will do.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use redis_servers::Private;
use world_core::{ErrorKind, World};
use world_redis::RedisWorld;

use crate::kit::{PASSWORD, PASSWORD_IN_URL, USER, command, list, said, said_with_source};

/// A server of a few lines, which lets `answers` do the talking until this process ends.
fn fake(answers: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answers(stream));
        }
    });
    address.to_string()
}

/// Answers each command with what belongs to its name.
fn talk(stream: TcpStream, answer: fn(&str) -> &'static str) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let mut next = |reader: &mut BufReader<TcpStream>| {
        line.clear();
        let read = reader.read_line(&mut line).ok().filter(|read| *read > 0);
        read.map(|_| line.trim_end().to_owned())
    };
    while let Some(count) = next(&mut reader) {
        let count: usize = count[1..].parse().unwrap();
        let mut words = Vec::new();
        for _ in 0..count {
            let Some(length) = next(&mut reader) else { return };
            let mut word = vec![0; length[1..].parse::<usize>().unwrap() + 2];
            reader.read_exact(&mut word).unwrap();
            words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
        }
        let said = answer(&words[0].to_uppercase());
        if reader.get_mut().write_all(said.as_bytes()).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn an_address_without_a_server_is_unavailable_in_time() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let silent = fake(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let closing = fake(drop);
    for host in [free, silent, closing, "no-such-host.invalid:6379".to_owned()] {
        for scheme in ["redis", "redis-cluster"] {
            let login = format!("{USER}:{PASSWORD_IN_URL}@");
            let url = format!("{scheme}://{login}{host}?connect_timeout_ms=300");
            let began = Instant::now();
            let error = RedisWorld::connect(&url).await.unwrap_err();
            said(&error, ErrorKind::Unavailable, "the server");
            assert!(began.elapsed() < Duration::from_secs(5), "{url}: {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn what_is_not_redis_is_invalid() {
    let http = fake(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let url = format!("redis://{http}?connect_timeout_ms=2000");
    let error = RedisWorld::connect(&url).await.unwrap_err();
    said_with_source(&error, ErrorKind::Invalid, "not a Redis server");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_unsupported() {
    let of_5 = |stream| {
        talk(stream, |command| match command {
            "INFO" => "$20\r\nredis_version:5.0.0\n\r\n",
            "CLIENT" => "+OK\r\n",
            _ => {
                "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, \
                 `limited-user`, `p@ss:w/rd?4712`, \r\n"
            }
        });
    };
    let of_6_0 = |stream| {
        talk(stream, |command| match command {
            "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n",
            "INFO" => "$20\r\nredis_version:6.0.16\r\n",
            "CLIENT" => "+OK\r\n",
            _ => "-ERR unknown command\r\n",
        });
    };
    for (server, words) in [(fake(of_5), "use Redis 6.2 or newer"), (fake(of_6_0), "6.0.16")] {
        let error = RedisWorld::connect(&format!("redis://{USER}:{PASSWORD_IN_URL}@{server}"))
            .await
            .unwrap_err();
        said(&error, ErrorKind::Unsupported, words);
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_and_a_password_of_any_characters_works() {
    let server = Private::start(&[]).unwrap();
    let address = server.address();
    let password = format!(">{PASSWORD}");
    let user = ["ACL", "SETUSER", USER, "on", &password, "+@all", "~*", "&*"];
    command(address, &user);
    command(address, &["ACL", "SETUSER", "default", "resetpass", &password]);
    let command = |words: &[&str]| {
        let mut connection = address.connect().unwrap();
        connection.command(&["AUTH", PASSWORD]).unwrap();
        connection.command(words).unwrap()
    };
    for (login, words) in [
        ("", "wants a password"),
        ("wrong@", "wants a password"),
        (":wrong@", "refuses the user's name or password"),
        (&*format!("nobody:{PASSWORD_IN_URL}@"), "refuses the user's name or password"),
        (&format!("{USER}:wrong@"), "refuses the user's name or password"),
        (&format!("{USER}@"), "wants a password"),
    ] {
        let error = RedisWorld::connect(&format!("redis://{login}{address}")).await.unwrap_err();
        said_with_source(&error, ErrorKind::Invalid, words);
    }
    assert_eq!(command(&["DBSIZE"]).integer(), Some(0));
    for login in [format!(":{PASSWORD_IN_URL}@"), format!("{USER}:{PASSWORD_IN_URL}@")] {
        let url = format!("redis://{login}{address}");
        RedisWorld::connect(&url).await.unwrap().list(&list()).await.unwrap();
    }
    let url = format!("redis://:{PASSWORD_IN_URL}@{address}/99");
    let error = RedisWorld::connect(&url).await.unwrap_err();
    said_with_source(&error, ErrorKind::Invalid, "no database of this number");
}

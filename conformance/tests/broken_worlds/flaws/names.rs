//! Names and bodies that are not kept as they are: rule I1.

use world_core::{
    By, KeyId, Kind, LogId, Page, Queue, Record, RunId, Sealed, StreamName, Timestamp, Token,
    WorkflowName,
};

use crate::flaw::{Flaw, flaw, with_records};

pub(crate) fn flaws() -> Vec<Flaw> {
    [bodies(), names(), other_names(), joined()].into_iter().flatten().collect()
}

/// A flaw in what is written of a record.
macro_rules! writes {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(
            I1,
            $name,
            $what,
            append = |logs, log, append| { logs.append(log, &with_records(append, $change)) }
        )
    };
}

fn body(record: &mut Record, change: impl Fn(&[u8]) -> Vec<u8>) {
    record.body = Sealed::from_stored(change(record.body.as_bytes()));
}

fn bodies() -> Vec<Flaw> {
    vec![
        writes!("body_ends_at_nul", "a body ends at its first zero byte", |record| {
            body(record, |bytes| {
                bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
            });
        }),
        writes!(
            "body_without_trailing_zeros",
            "zero bytes at the end of a body are lost",
            |record| {
                body(record, |bytes| {
                    let end =
                        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |index| index + 1);
                    bytes[..end].to_vec()
                });
            }
        ),
        writes!("body_without_spaces", "white space at the end of a body is lost", |record| {
            body(record, |bytes| bytes.trim_ascii_end().to_vec());
        }),
        writes!(
            "body_as_text",
            "a body is kept as text: bytes that are none are replaced",
            |record| {
                body(record, |bytes| String::from_utf8_lossy(bytes).into_owned().into_bytes());
            }
        ),
        writes!("body_with_unix_lines", "a carriage return before a line feed is lost", |record| {
            body(record, |bytes| String::from_utf8_lossy(bytes).replace("\r\n", "\n").into_bytes());
        }),
        writes!("body_of_64_kib", "a body is cut after 65535 bytes", |record| {
            body(record, |bytes| bytes[..bytes.len().min(65_535)].to_vec());
        }),
        writes!("body_of_seven_bits", "the highest bit of each byte is lost", |record| {
            body(record, |bytes| bytes.iter().map(|byte| byte & 0x7F).collect());
        }),
        writes!("kinds_above_0", "a kind of 0 becomes 1", |record| {
            record.kind = Kind(record.kind.0.max(1));
        }),
        flaw!(
            I1,
            "empty_body_dropped",
            "a record with an empty body is not written",
            page = |logs, log, after, limit| {
                let mut page = logs.page(log, after, limit);
                page.records.retain(|record| !record.body.as_bytes().is_empty());
                page
            },
        ),
        writes!("times_in_seconds", "a record's time is kept in whole seconds", |record| {
            record.at = Timestamp::from_millis(record.at.as_millis() / 1000 * 1000);
        }),
        writes!("times_of_41_bits", "a record's time is kept in 41 bits", |record| {
            record.at = Timestamp::from_millis(record.at.as_millis() & ((1 << 41) - 1));
        }),
        writes!("kinds_of_8_bits", "a record's kind is cut to 8 bits", |record| {
            record.kind = Kind(record.kind.0 & 0xFF);
        }),
        writes!("kinds_with_a_sign", "a kind above 32767 becomes 32767", |record| {
            record.kind = Kind(record.kind.0.min(0x7FFF));
        }),
        flaw!(
            I1,
            "times_of_the_append",
            "a record's time is the append's",
            append = |logs, log, append| {
                let at = append.at;
                logs.append(log, &with_records(append, |record| record.at = at))
            },
        ),
    ]
}

fn named(log: &LogId, change: fn(&str) -> String) -> LogId {
    let run = |id: &RunId| RunId::new(change(id.as_str())).unwrap_or_else(|_| id.clone());
    match log {
        LogId::Run(id) => LogId::Run(run(id)),
        LogId::Stream(id, name) => {
            let name = StreamName::new(change(name.as_str())).unwrap_or_else(|_| name.clone());
            LogId::Stream(run(id), name)
        }
        LogId::Token(token) => {
            LogId::Token(Token::new(change(token.as_str())).unwrap_or_else(|_| token.clone()))
        }
    }
}

/// A flaw by which names that differ are one.
macro_rules! names_as {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(I1, $name, $what, key = |log| named(log, $change))
    };
}

fn cut(name: &str, bytes: usize) -> String {
    let mut end = name.len().min(bytes);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

fn names() -> Vec<Flaw> {
    vec![
        names_as!("names_without_case", "names that differ by case are one", |name| name
            .to_ascii_lowercase()),
        names_as!(
            "names_without_case_of_any_script",
            "names that differ by the case of letters outside ASCII are one",
            |name| {
                name.chars()
                    .flat_map(|sign| {
                        if sign.is_ascii() { vec![sign] } else { sign.to_lowercase().collect() }
                    })
                    .collect()
            }
        ),
        names_as!("names_trimmed", "white space around a name is lost", |name| name
            .trim()
            .to_owned()),
        names_as!("names_padded", "spaces at the end of a name are lost", |name| name
            .trim_end_matches(' ')
            .to_owned()),
        names_as!("names_end_at_nul", "a name ends at its first zero byte", |name| {
            name.split('\0').next().unwrap_or_default().to_owned()
        }),
        names_as!("names_of_64_bytes", "a name is cut after 64 bytes", |name| cut(name, 64)),
        names_as!("names_of_255_bytes", "a name is cut after 255 bytes", |name| cut(name, 255)),
        names_as!("names_of_511_bytes", "a name is cut after 511 bytes", |name| cut(name, 511)),
        names_as!(
            "names_composed",
            "a letter with a combining accent is the letter with an accent",
            |name| {
                name.replace("e\u{301}", "é")
                    .replace("a\u{308}", "ä")
                    .replace("A\u{30a}", "Å")
                    .replace("\u{212b}", "Å")
            }
        ),
        names_as!("names_without_accents", "accents are ignored", |name| {
            name.replace(['é', 'è', 'ê'], "e")
                .replace('ä', "a")
                .replace(['ö', 'ó'], "o")
                .replace(['ü', 'ú'], "u")
        }),
        names_as!(
            "names_of_3_bytes_a_sign",
            "signs of 4 bytes are replaced by a question mark",
            |name| {
                name.chars().map(|sign| if sign.len_utf8() > 3 { '?' } else { sign }).collect()
            }
        ),
        names_as!("names_without_joiners", "signs of no width are left out", |name| {
            name.replace(['\u{200d}', '\u{200b}', '\u{feff}'], "")
        }),
        names_as!("names_as_numbers", "names that look like the same number are one", |name| {
            name.parse::<f64>().map_or_else(|_| name.to_owned(), |number| number.to_string())
        }),
        names_as!("names_decoded", "percent signs in a name are decoded", |name| {
            name.replace("%2F", "/")
                .replace("%2f", "/")
                .replace("%20", " ")
                .replace("%25", "%")
                .replace("%00", "\0")
        }),
        names_as!("names_as_paths", "a name is a path, and is made shorter", |name| {
            let mut parts: Vec<&str> = Vec::new();
            for part in name.split('/') {
                match part {
                    "" | "." => {}
                    ".." => drop(parts.pop()),
                    part => parts.push(part),
                }
            }
            parts.join("/")
        }),
        names_as!("names_unescaped", "a backslash in a name is lost", |name| name
            .replace('\\', "")),
        names_as!("names_without_quotes", "quotes in a name are lost", |name| name
            .replace(['\'', '"'], "")),
        names_as!(
            "names_of_word_signs",
            "what is neither letter, digit nor a few signs becomes an underscore",
            |name| {
                name.chars()
                    .map(
                        |sign| {
                            if sign.is_alphanumeric() || "-_./ ".contains(sign) {
                                sign
                            } else {
                                '_'
                            }
                        },
                    )
                    .collect()
            }
        ),
    ]
}

/// A flaw in the other names of a new run.
macro_rules! creates {
    ($name:literal, $what:literal, $change:expr) => {
        flaw!(
            I1,
            $name,
            $what,
            append = |logs, log, append| {
                let mut changed = append.clone();
                if let By::Creator(new) = &mut changed.by {
                    let change: fn(&mut world_core::NewRun) = $change;
                    change(new);
                }
                logs.append(log, &changed)
            }
        )
    };
}

fn other_names() -> Vec<Flaw> {
    vec![
        flaw!(
            I1,
            "queues_without_case",
            "queues that differ by case are one",
            claim = |logs, claim| {
                let is_named = |queue: &Queue| {
                    claim
                        .queues
                        .iter()
                        .any(|named| named.as_str().eq_ignore_ascii_case(queue.as_str()))
                };
                let queues = logs.runs().map(|(_, run, _)| run.new.queue.clone());
                let queues = queues.filter(is_named).collect();
                logs.claim(&world_core::Claim { queues, ..claim.clone() })
            },
        ),
        flaw!(
            I1,
            "queues_by_prefix",
            "a claim gets the runs of every queue whose name begins with the one it names",
            claim = |logs, claim| {
                let is_named = |queue: &Queue| {
                    claim.queues.iter().any(|named| queue.as_str().starts_with(named.as_str()))
                };
                let queues = logs.runs().map(|(_, run, _)| run.new.queue.clone());
                let queues = queues.filter(is_named).collect();
                logs.claim(&world_core::Claim { queues, ..claim.clone() })
            },
        ),
        creates!("queues_of_255_bytes", "a queue's name is cut after 255 bytes", |new| {
            new.queue =
                Queue::new(cut(new.queue.as_str(), 255)).unwrap_or_else(|_| new.queue.clone());
        }),
        creates!("workflows_end_at_nul", "a workflow's name ends at its first zero byte", |new| {
            let name = new.workflow.as_str().split('\0').next().unwrap_or_default().to_owned();
            new.workflow = WorkflowName::new(name).unwrap_or_else(|_| new.workflow.clone());
        }),
        creates!("keys_of_64_bytes", "a key's name is cut after 64 bytes", |new| {
            new.key = KeyId::new(cut(new.key.as_str(), 64)).unwrap_or_else(|_| new.key.clone());
        }),
        creates!("parents_trimmed", "white space around a parent's name is lost", |new| {
            new.parent = new.parent.as_ref().map(|parent| {
                RunId::new(parent.as_str().trim()).unwrap_or_else(|_| parent.clone())
            });
        }),
    ]
}

/// A flaw by which a stream's key is its run's name and its own with a sign between them.
macro_rules! joined_by {
    ($name:literal, $what:literal, $sign:literal) => {
        flaw!(
            I1,
            $name,
            $what,
            key = |log| {
                let LogId::Stream(run, stream) = log else { return log.clone() };
                let text =
                    format!("{run}{}{stream}", $sign, run = run.as_str(), stream = stream.as_str());
                let Some((run, stream)) = text.split_once($sign) else { return log.clone() };
                match (RunId::new(run), StreamName::new(stream)) {
                    (Ok(run), Ok(stream)) => LogId::Stream(run, stream),
                    _ => log.clone(),
                }
            }
        )
    };
}

fn joined() -> Vec<Flaw> {
    vec![
        joined_by!("joined_by_a_slash", "the names of run and stream are joined by a slash", "/"),
        joined_by!("joined_by_a_colon", "the names of run and stream are joined by a colon", ":"),
        joined_by!("joined_by_nul", "the names of run and stream are joined by a zero byte", "\0"),
        joined_by!("joined_by_a_hash", "the names of run and stream are joined by a hash", "#"),
        joined_by!(
            "joined_by_a_unit_separator",
            "the names of run and stream are joined by a separator for units",
            "\u{1f}"
        ),
        flaw!(
            I1,
            "joined_by_nothing",
            "the names of run and stream are written one after the other",
            key = |log| {
                let LogId::Stream(run, stream) = log else { return log.clone() };
                let text = format!("{}{}", run.as_str(), stream.as_str());
                let parts = text.split_at(text.chars().next().map_or(0, char::len_utf8));
                match (RunId::new(parts.0), StreamName::new(parts.1)) {
                    (Ok(run), Ok(stream)) => LogId::Stream(run, stream),
                    _ => log.clone(),
                }
            },
        ),
        flaw!(
            T1,
            "tokens_are_runs",
            "a token and a run of the same name are one log",
            key = |log| match log {
                LogId::Token(token) =>
                    RunId::new(token.as_str()).map_or_else(|_| log.clone(), LogId::Run),
                LogId::Run(_) | LogId::Stream(..) => log.clone(),
            },
        ),
        flaw!(
            I1,
            "read_by_prefix",
            "a read finds the records of every run whose name begins with the one it names",
            page = |logs, log, after, limit| {
                let page = logs.page(log, after, limit);
                let LogId::Run(run) = log else { return page };
                let is_its = |other: &LogId| matches!(other, LogId::Run(id) if id.as_str().starts_with(run.as_str()));
                let others: Vec<_> =
                    logs.records.iter().filter(|(other, _)| is_its(other)).collect();
                let mut records: Vec<Record> =
                    others.iter().flat_map(|(_, all)| all.values().cloned()).collect();
                records.retain(|record| record.position > after);
                records.sort_by_key(|record| record.position);
                records.truncate(limit);
                Page { records, head: page.head }
            },
        ),
    ]
}

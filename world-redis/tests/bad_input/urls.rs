//! URLs and options that cannot be meant.

use std::time::Duration;

use world_core::ErrorKind;
use world_redis::{Options, PREFIX_BYTES_MAX, RETENTION_MAX, RedisWorld, TIMEOUT_MAX};

use crate::kit::{PASSWORD, PASSWORD_IN_URL, said};

#[tokio::test]
async fn a_url_that_cannot_be_meant_is_invalid_and_says_what_to_write() {
    let long = format!("redis://h?prefix={}", "x".repeat(PREFIX_BYTES_MAX + 1));
    for (url, words) in [
        ("", "not a redis: URL"),
        ("redis", "not a redis: URL"),
        ("redis:h", "not a redis: URL"),
        ("http://h", "not a redis: URL"),
        ("REDIS ://h", "not a redis: URL"),
        ("redis-sentinel://h", "not a redis: URL"),
        ("redis://", "without a host"),
        ("redis:///0", "without a host"),
        ("redis-cluster://", "without a host"),
        ("redis-cluster://h:1,,i:2", "without a host"),
        ("redis-cluster://h/0", "no numbered databases"),
        ("redis://h:port", "cannot be read"),
        ("redis://h:99999", "cannot be read"),
        ("redis://h/x", "cannot be read"),
        ("redis://h/-1", "below 0"),
        ("redis://h?perfix=a", "no option is called \"perfix\""),
        ("redis://h?PREFIX=a", "no option is called \"PREFIX\""),
        ("redis://h?db=1", "no option is called \"db\""),
        ("redis://h?prefix=a&prefix=a", "\"prefix\" is there twice"),
        ("redis://h?prefix", "a prefix that keys cannot begin with"),
        ("redis://h?prefix=", "a prefix that keys cannot begin with"),
        ("redis://h?prefix=a:b", "a prefix that keys cannot begin with"),
        ("redis://h?prefix={a}", "a prefix that keys cannot begin with"),
        ("redis://h?prefix=a%20b", "a prefix that keys cannot begin with"),
        ("redis://h?prefix=\u{e4}", "a prefix that keys cannot begin with"),
        (&long, "a prefix that keys cannot begin with"),
        ("redis://h?shards=0", "shards=\"0\""),
        ("redis://h?shards=1025", "shards=\"1025\""),
        ("redis://h?shards=-1", "shards=\"-1\""),
        ("redis://h?shards=many", "shards=\"many\""),
        ("redis://h?response_timeout_ms=0", "response_timeout_ms=\"0\""),
        ("redis://h?connect_timeout_ms=600001", "connect_timeout_ms=\"600001\""),
        ("redis://h?retention_hours=87601", "retention_hours=\"87601\""),
        ("redis://h?retention_hours=1.5", "retention_hours=\"1.5\""),
        ("redis://h?wait_replicas=101", "wait_replicas=\"101\""),
        ("redis://h?wait_timeout_ms=18446744073709551616", "wait_timeout_ms="),
        ("redis://h?clock_check=no", "clock_check=\"no\""),
        (&format!("redis://u:{PASSWORD}@h"), "an @ after the first ?"),
        (&format!("redis://u:{PASSWORD_IN_URL}@h:port"), "cannot be read"),
        (&format!("redis-cluster://u:{PASSWORD_IN_URL}@h:port"), "cannot be read"),
    ] {
        let error = RedisWorld::connect(url).await.expect_err(url);
        said(&error, ErrorKind::Invalid, words);
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn tls_needs_a_feature_which_is_named() {
    for url in ["rediss://h", "rediss-cluster://h"] {
        let error = RedisWorld::connect(url).await.unwrap_err();
        said(&error, ErrorKind::Unsupported, "switch on the feature tls");
    }
}

#[test]
fn each_option_of_a_url_is_the_one_of_its_method_and_bounded_as_it_is() {
    let millis = Duration::from_millis;
    let new = Options::new;
    for (query, options) in [
        ("", new()),
        ("&", new()),
        ("prefix=a.B-9_", new().prefix("a.B-9_").unwrap()),
        ("shards=1024", new().shards(u16::MAX)),
        ("shards=1", new().shards(0)),
        ("response_timeout_ms=1", new().response_timeout(Duration::ZERO)),
        ("connect_timeout_ms=600000", new().connect_timeout(TIMEOUT_MAX * 2)),
        ("wait_timeout_ms=20", new().wait_timeout(millis(20))),
        ("retention_hours=0", new().retention(None)),
        ("retention_hours=87600", new().retention(Some(RETENTION_MAX * 2))),
        ("clock_check=on", new()),
        ("clock_check=off", new().clock_check(false)),
        ("wait_replicas=100", new().wait_replicas(u8::MAX)),
        (
            "wait_replicas=2&shards=4&prefix=a",
            new().prefix("a").unwrap().shards(4).wait_replicas(2),
        ),
    ] {
        assert_eq!(Options::parse(query).unwrap(), options, "{query}");
    }
    for name in [
        "prefix",
        "shards",
        "response_timeout_ms",
        "connect_timeout_ms",
        "retention_hours",
        "wait_replicas",
        "wait_timeout_ms",
        "clock_check",
    ] {
        let error = Options::parse("other=1").unwrap_err();
        assert!(error.to_string().contains(name), "{name} is not told: {error}");
    }
}

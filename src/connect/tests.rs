use super::*;

async fn refused(url: &str) -> Error {
    connect(url).await.map(|_| url).unwrap_err()
}

fn toy(_url: &str) -> Connecting<'_> {
    Box::pin(async { Ok(Arc::new(MemoryWorld::new()) as Arc<dyn World>) })
}

fn broken(url: &str) -> Connecting<'_> {
    let len = url.len();
    Box::pin(async move { Err(Error::new(ErrorKind::Unavailable, format!("{len} bytes"))) })
}

#[tokio::test]
async fn memory_is_a_new_world_each_time_and_takes_nothing() {
    assert_eq!(connect("memory:").await.unwrap().info().name, "memory");
    assert_eq!(connect("memory:?").await.unwrap().info().name, "memory");
    for url in ["memory://", "memory:x", "memory:?size=5", "memory:?=", "memory:?x&y"] {
        let error = refused(url).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert!(error.to_string().contains("write memory: alone"), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_scheme_lists_what_is_compiled_in() {
    let error = refused("etcd://host").await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("no World has the scheme etcd:"), "{error}");
    assert!(error.to_string().contains("this build knows memory:"), "{error}");
    assert_eq!(error.to_string().contains("sqlite:"), cfg!(feature = "sqlite"), "{error}");
}

/// What the service says is tested in `world-dynamo`; here, that the scheme gets there.
#[tokio::test]
async fn a_table_of_dynamodb_leads_to_its_world_or_names_the_feature() {
    let error = refused("dynamodb://runs?x=1").await;
    if cfg!(feature = "dynamo") {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("the options are region"), "{error}");
    } else {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("features = [\"dynamo\"]"), "{error}");
    }
}

#[cfg(not(feature = "redis"))]
#[tokio::test]
async fn each_way_to_redis_names_its_feature() {
    for (scheme, feature) in [
        ("redis", "redis"),
        ("redis+unix", "redis"),
        ("redis-cluster", "redis"),
        ("rediss", "redis-tls"),
        ("rediss-cluster", "redis-tls"),
    ] {
        let error = refused(&format!("{scheme}://host:6379/0")).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&format!("features = [\"{feature}\"]")), "{error}");
    }
}

/// What a server says is tested in `world-redis`; here, that each scheme gets there.
#[cfg(feature = "redis")]
#[tokio::test]
async fn each_way_to_redis_leads_to_its_world() {
    for url in ["redis://h?x=1", "redis+unix:///s?x=1", "redis-cluster://h?x=1"] {
        let error = refused(url).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("the options are prefix"), "{error}");
    }
    for url in ["rediss://h?x=1", "rediss-cluster://h?x=1"] {
        let error = refused(url).await;
        let has_tls = cfg!(feature = "redis-tls");
        assert_eq!(error.kind() == ErrorKind::Invalid, has_tls, "{error}");
        assert_eq!(error.to_string().contains("redis-tls of world"), !has_tls, "{error}");
    }
}

#[cfg(not(feature = "sqlite"))]
#[tokio::test]
async fn a_disabled_scheme_names_its_feature() {
    let error = refused("sqlite://runs.db").await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("features = [\"sqlite\"]"), "{error}");
}

#[tokio::test]
async fn what_is_no_url_says_what_to_write() {
    for url in ["", ":", "runs.db", "://x", "1a:x", "Memory:", "a b:c", "ünicode:x", "C:\\runs.db"]
    {
        let error = refused(url).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert!(error.to_string().contains("as in sqlite://runs.db"), "{error}");
    }
}

#[tokio::test]
async fn no_error_repeats_a_user_name_or_password() {
    for url in [
        "hunter2:hunter3@host",
        "hunter2@host:6379",
        "redis://hunter2:hunter3@host:6379/0?x=hunter4",
        "redis://user:hun?hunter2@host:6379/0",
        "redis://user:hunter#2@host:6379/0?x",
        "redis-cluster://user:hunter2@host:6379,host:hunter3",
        "etcd://hunter2:hunter3@host",
        "dynamodb://hunter2:hunter3@table?x=1",
        "dynamodb://runs?endpoint=http://hunter2:hunter3@host",
        "memory:?x=hunter2",
        "memory:hunter2:hunter3@host",
        "hunter2",
    ] {
        let error = refused(url).await;
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }
}

#[tokio::test]
async fn a_connector_adds_a_scheme_or_takes_the_place_of_one() {
    const TOY: Connector = Connector::new("toy+1", toy);
    let connectors = Connectors::default().with(TOY).with(Connector::new("memory", broken));
    assert_eq!(connectors.schemes().filter(|scheme| *scheme == "memory").count(), 1);
    assert!(connectors.connect("toy+1:anything").await.is_ok());
    let error = connectors.connect("memory:").await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("7 bytes"), "the whole URL is given: {error}");
    let error = connectors.connect("other:").await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("toy+1:"), "{error}");
}

#[test]
fn a_scheme_is_what_rfc_3986_says_in_lower_case() {
    for scheme in ["a", "sqlite", "a1+-."] {
        assert!(is_scheme(scheme), "{scheme}");
    }
    for scheme in ["", "1", "+a", "A", "aB", "a:", "a/", "a ", "ä"] {
        assert!(!is_scheme(scheme), "{scheme}");
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn in_memory_and_in_a_file() {
        let world = connect("sqlite::memory:").await.unwrap();
        assert_eq!((world.info().name, world.info().durable), ("sqlite", false));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let url = format!("sqlite://{}?synchronous=normal", path.display());
        assert!(url.starts_with("sqlite:///"), "an absolute path makes three slashes");
        let world = connect(&url).await.unwrap();
        assert!(world.info().durable && path.exists());
    }

    #[test]
    fn outside_a_runtime_too() {
        let opening = std::pin::pin!(connect("sqlite::memory:"));
        let Poll::Ready(world) = opening.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for a runtime that is not there");
        };
        assert_eq!(world.unwrap().info().name, "sqlite");
    }

    #[tokio::test]
    async fn an_unknown_option_lists_the_known_ones() {
        let error = refused("sqlite://runs.db?sync=full").await;
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("synchronous=full|normal"), "{error}");
        assert!(!std::path::Path::new("runs.db").exists());
    }
}

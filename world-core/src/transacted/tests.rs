use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    error::Error,
    head::tests::kept::{Kept, append, ask, committed, create, pos, run},
    world::Limits,
};

/// A store that counts its commits, and can fail or panic in their place.
#[derive(Clone, Debug, Default)]
struct Copied {
    logs: Arc<Mutex<Kept>>,
    commits: Arc<AtomicUsize>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Fails,
    Panics,
}

impl Store for Copied {
    type Snapshot<'tx> = Kept;
    type Transaction<'tx> = Kept;

    fn info(&self) -> WorldInfo {
        WorldInfo { name: "copied", limits: Limits::LEAST, durable: false }
    }

    fn view<T>(&self, work: impl FnOnce(&mut Kept) -> Result<T>) -> Result<T> {
        work(&mut lock(&self.logs))
    }

    fn transact<T>(&self, work: impl FnOnce(&mut Kept) -> Result<Done<T>>) -> Result<Done<T>> {
        let mut logs = lock(&self.logs);
        let mut copy = logs.clone();
        let done = work(&mut copy)?;
        if done.is_changed {
            match *lock(&self.trouble) {
                Some(Trouble::Fails) => return Err(Error::new(ErrorKind::Unknown, "cut off")),
                Some(Trouble::Panics) => panic!("in a commit"),
                None => *logs = copy,
            }
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(done)
    }
}

fn world() -> (Transacted<Copied>, Copied) {
    let store = Copied::default();
    (Transacted::new(store.clone()), store)
}

#[tokio::test]
async fn what_changes_nothing_is_not_committed() {
    let (world, store) = world();
    let commits = || store.commits.load(Ordering::Relaxed);
    assert_eq!(world.append(&run("r"), &create(None)).await.unwrap(), committed(1));
    assert_eq!(commits(), 1);
    let conflict = world.append(&run("r"), &append(7, &["b"], crate::By::Outsider)).await.unwrap();
    assert_eq!(conflict, Appended::Conflict { head: pos(1) });
    assert_eq!(world.delete(&run("r"), pos(1)).await.unwrap(), Deleted::Open);
    assert_eq!(commits(), 1);
    let leases = world.claim(&ask(1, 0, 9)).await.unwrap();
    assert_eq!((leases.len(), commits()), (1, 2));
    assert!(world.claim(&ask(2, 0, 9)).await.unwrap().is_empty());
    let lost = Lease { ticket: crate::Ticket::from_bytes([9; 16]), ..leases[0].clone() };
    assert_eq!(world.renew(&lost, Timestamp::MAX).await.unwrap(), Renewed::Lost);
    assert_eq!(commits(), 2);
}

#[tokio::test]
async fn a_commit_that_fails_or_panics_is_unknown_and_wakes_nobody() {
    let (world, store) = world();
    let changed = world.0.changed.subscribe();
    for trouble in [Trouble::Fails, Trouble::Panics] {
        *lock(&store.trouble) = Some(trouble);
        let error = world.append(&run("r"), &create(None)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown);
    }
    assert!(!changed.has_changed().unwrap());
    *lock(&store.trouble) = None;
    assert_eq!(world.append(&run("r"), &create(None)).await.unwrap(), committed(1));
    assert!(changed.has_changed().unwrap());
}

#[tokio::test]
async fn work_that_panics_in_a_view_is_unavailable() {
    let (world, _) = world();
    let error = world.view(|_| -> Result<()> { panic!("in a view") }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_wait_ends_with_a_commit_of_another_handle_or_its_time() {
    let (world, _) = world();
    let other = world.clone();
    let mut wait = Wait {
        queues: Vec::new(),
        logs: vec![(run("r"), Position::START)],
        at_most: Duration::from_millis(1),
    };
    world.wait(&wait).await.unwrap();
    wait.at_most = Duration::MAX;
    let (log, create) = (run("r"), create(None));
    let both = async { tokio::join!(world.wait(&wait), other.append(&log, &create)) };
    tokio::time::timeout(Duration::from_secs(120), both).await.unwrap().0.unwrap();
}

#[tokio::test]
async fn what_is_over_the_limits_never_reaches_the_store() {
    let (world, store) = world();
    let mut much = create(None);
    much.records = vec![much.records[0].clone(); Limits::LEAST.records_max + 1];
    assert!(world.append(&run("r"), &much).await.is_err());
    assert_eq!(*lock(&store.logs), Kept::default());
}

#[tokio::test]
async fn a_path_is_opened_once_and_closed_with_its_last_handle() {
    let opened: Opened<Copied> = Opened::default();
    let one = opened.get_or_open("here", |_| Ok(Copied::default())).unwrap();
    let same = opened.get_or_open("./here", |_| panic!("it is open")).unwrap();
    assert!(Arc::ptr_eq(&one.0, &same.0));
    let other = opened.get_or_open("there", |_| Ok(Copied::default())).unwrap();
    assert!(!Arc::ptr_eq(&one.0, &other.0));
    drop((one, same));
    let failed = opened.get_or_open("here", |_| Err(Error::new(ErrorKind::Unavailable, "shut")));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
    opened.get_or_open("here", |_| Ok(Copied::default())).unwrap();
    assert_eq!(lock(&opened.0).len(), 2);
}

#[test]
fn who_opens_a_path_waits_until_the_store_before_has_closed() {
    static IS_OPEN: Mutex<bool> = Mutex::new(false);
    static OPENED: Opened<Slow> = Opened::new();

    #[derive(Debug)]
    struct Slow(Copied);

    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(50));
            *lock(&IS_OPEN) = false;
        }
    }

    impl Store for Slow {
        type Snapshot<'tx> = Kept;
        type Transaction<'tx> = Kept;

        fn info(&self) -> WorldInfo {
            self.0.info()
        }

        fn view<T>(&self, work: impl FnOnce(&mut Kept) -> Result<T>) -> Result<T> {
            self.0.view(work)
        }

        fn transact<T>(&self, work: impl FnOnce(&mut Kept) -> Result<Done<T>>) -> Result<Done<T>> {
            self.0.transact(work)
        }
    }

    let open = || {
        OPENED.get_or_open("slow", |_| {
            assert!(!std::mem::replace(&mut *lock(&IS_OPEN), true), "it is open already");
            Ok(Slow(Copied::default()))
        })
    };
    for _ in 0..3 {
        let world = open().unwrap();
        let handle = Arc::downgrade(&world.0);
        let closing = std::thread::spawn(move || drop(world));
        while handle.strong_count() > 0 {
            std::thread::yield_now();
        }
        open().unwrap();
        closing.join().unwrap();
    }
}

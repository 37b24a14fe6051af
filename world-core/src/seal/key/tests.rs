use std::fs;

use super::*;
use crate::seal::{KeyProvider, Keyring};

const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

#[test]
fn a_key_is_read_from_its_text() {
    let key = Key::from_text(&format!(" team:2026:{DIGITS}\n")).unwrap();
    assert_eq!(key.id().as_str(), "team:2026");
    assert_eq!(key.bytes()[..3], [0x00, 0x11, 0x22]);
    let unnamed = Key::from_text(DIGITS).unwrap();
    assert_eq!(unnamed.bytes(), key.bytes());
    assert_eq!(unnamed.id().as_str(), "k-980daed7cc777baa");
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    for text in [
        "",
        ":",
        "id:",
        "canary",
        &DIGITS[1..],
        &format!("{}g", &DIGITS[1..]),
        &format!(":{DIGITS}"),
        &format!("{DIGITS}0"),
        &format!("{}:{DIGITS}", "x".repeat(600)),
        &"é".repeat(32),
    ] {
        let error = Key::from_text(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        let shown = format!("{error:?}");
        assert!(!shown.contains("canary") && !shown.contains("1122"), "{shown}");
        assert!(shown.contains("64 hexadecimal digits"), "{shown}");
    }
}

#[test]
fn generated_keys_and_their_ids_differ() {
    let (a, b) = (Key::generate(), Key::generate());
    assert_ne!(a.bytes(), b.bytes());
    assert_ne!(a.id(), b.id());
    assert_ne!(a, b);
    assert_eq!(a, a.clone());
}

#[test]
fn a_made_file_is_the_owners_and_reads_as_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let made = Key::create_file(&path).unwrap();
    let read = Key::from_file(&path).unwrap();
    assert_eq!(made, read);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let error = Key::create_file(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert_eq!(Key::from_file(&path).unwrap(), made);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_open_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    Key::create_file(&path).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601, 0o660, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Key::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(Key::from_file(&path).is_ok());
    }
}

#[test]
fn a_file_without_a_key_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    assert_eq!(Key::from_file(&path).unwrap_err().kind(), ErrorKind::Key);
    Key::create_file(&path).unwrap();
    for text in ["", "canary", &"f".repeat(5000)] {
        fs::write(&path, text).unwrap();
        let error = Key::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        let shown = format!("{error:?}");
        assert!(
            shown.contains(&path.display().to_string()) && !shown.contains("canary"),
            "{shown}"
        );
    }
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let error = Key::from_env("WORLD_KEY_THAT_NOBODY_SETS").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(error.to_string().contains("WORLD_KEY_THAT_NOBODY_SETS is not set"), "{error}");
}

#[tokio::test]
async fn a_keyring_refuses_two_keys_of_one_id() {
    let key = |byte| Key::from_bytes(KeyId::new("a").unwrap(), [byte; 32]);
    assert!(Keyring::new(key(1)).with_old(key(1)).is_ok());
    let error = Keyring::new(key(1)).with_old(key(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    let keys = Keyring::new(key(1)).with_old(Key::generate()).unwrap();
    assert_eq!(*keys.active().await.unwrap(), key(1));
    assert!(keys.key(&KeyId::new("b").unwrap()).await.is_err());
}

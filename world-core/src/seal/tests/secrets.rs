//! Keys and ciphers are the standard ones, and nothing secret is shown or left behind.

use super::*;
use crate::{
    event::Seed,
    seal::cipher::{Keyed, derive, log_key},
};

#[test]
fn every_log_has_its_own_key() {
    let master = [9; 32];
    let logs = [
        ("default", run("a")),
        ("default", run("b")),
        ("default", token("a")),
        ("default", stream("a", "b")),
        ("default", stream("ab", "b")),
        ("default", stream("a", "bb")),
        ("other", run("a")),
        ("defaulta", run("a")),
        ("", run("a")),
    ];
    let keys: std::collections::BTreeSet<_> =
        logs.iter().map(|(realm, log)| *log_key(&master, realm, log)).collect();
    assert_eq!(keys.len(), logs.len());
    assert_ne!(*log_key(&[8; 32], "default", &run("a")), *log_key(&master, "default", &run("a")));
}

#[test]
fn hkdf_is_that_of_rfc_5869() {
    // Appendix A.1.
    let mut out = [0; 42];
    let salt: Vec<u8> = (0x00..=0x0C).collect();
    let info: Vec<u8> = (0xF0..=0xF9).collect();
    derive(&salt, &[0x0B; 22], &info, &mut out);
    assert_eq!(
        hex(&out),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    );
}

#[test]
fn aes_256_gcm_is_that_of_the_standard() {
    // Test case 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega), which NIST SP
    // 800-38D standardizes.
    let half = 0xfeff_e992_8665_731c_6d6a_8f94_6730_8308_u128.to_be_bytes();
    let key: [u8; 32] = [half, half].concat().try_into().unwrap();
    let nonce = b"\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88";
    let mut text = unhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24\
         49a6b525b16aedf5aa0de657ba637b39",
    );
    let (plain, aad) = (text.clone(), unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"));
    let keyed = Keyed::with_key(&key);
    let tag = keyed.encrypt(nonce, &aad, &mut text).ok().unwrap();
    assert_eq!(
        hex(&text),
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10\
         56828838c5f61e6393ba7a0abcc9f662"
    );
    assert_eq!(hex(&tag), "76fc6ece0f4e1768cddf8853bb2d551b");
    keyed.decrypt(nonce, &aad, &mut text, &tag).ok().unwrap();
    assert_eq!(text, plain);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let canary = 0xA7;
    let bytes = [canary; 32];
    let seal = Seal::new("default", Keyring::new(Key::from_bytes(KeyId::new("a").unwrap(), bytes)));
    let log = fresh(&seal, run("r"));
    let event = Event::RunCreated {
        workflow: crate::WorkflowName::new("w").unwrap(),
        version: 1,
        input: Plain::new(vec![canary; 100]),
        seed: Seed::from_bytes(bytes),
        parent: None,
    };
    let record = log.seal(Position::new(1), AT, &event).unwrap();
    let key = Key::from_bytes(KeyId::new("a").unwrap(), bytes);
    let shown = format!(
        "{seal:?} {log:?} {event:?} {record:?} {key:?} {:?} {:?} {:#?}",
        Keyring::new(key.clone()),
        log.open(&record).unwrap(),
        (&seal, &log, &event, &record, &key),
    );
    for secret in ["167", "a7", "A7", "§"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn secrets_are_wiped_by_type() {
    fn wiped_on_drop<T: zeroize::ZeroizeOnDrop>() {}
    wiped_on_drop::<aes_gcm::Aes256Gcm>();
    wiped_on_drop::<zeroize::Zeroizing<[u8; 32]>>();
    assert!(std::mem::needs_drop::<Key>() && std::mem::needs_drop::<Plain>());
    assert!(std::mem::needs_drop::<Seed>() && std::mem::needs_drop::<Buffer>());
}

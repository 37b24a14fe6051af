//! Compression saves or is left out, and never takes more than it may.

use super::*;
use crate::seal::{cipher::Keyed, compress::COMPRESS_BYTES_MIN};

const COMPRESSION_AT: usize = 3;

#[test]
fn zstd_is_used_from_1_kib_where_it_saves_5_percent() {
    let log = fresh(&keyed("default"), run("r"));
    let sealed = |bytes: Vec<u8>| {
        let record = log.seal_plain(SECOND, Kind(97), AT, &Plain::new(bytes.clone())).unwrap();
        assert_eq!(log.open_plain(&record).unwrap().as_bytes(), bytes);
        record.body.as_bytes().to_vec()
    };
    assert_eq!(sealed(vec![7; COMPRESS_BYTES_MIN - 1])[COMPRESSION_AT], 0);
    let packed = sealed(vec![7; COMPRESS_BYTES_MIN]);
    assert_eq!(packed[COMPRESSION_AT], 1);
    assert!(packed.len() < 128);
    assert_eq!(sealed(noise(4096))[COMPRESSION_AT], 0);
    // 4 % and 8 % of it are the same byte.
    let mixed = |same: usize| [noise(10_000 - same), vec![0; same]].concat();
    assert_eq!(sealed(mixed(400))[COMPRESSION_AT], 0);
    assert_eq!(sealed(mixed(800))[COMPRESSION_AT], 1);
}

/// Seals bytes as if they were a zstd frame, as one with the key could.
fn sealed_frame(frame: &[u8]) -> (LogSeal, Record) {
    use super::envelope::{CODEC_MESSAGEPACK, Compression, Frame, VERSION};
    let seal = keyed("default");
    let log = fresh(&seal, run("r"));
    let common = Frame::new(Cipher::Aes256Gcm, log.key_id(), "default", log.log());
    let mut text = frame.to_vec();
    let keyed = Keyed::aes_256_gcm(&key("a", 1), "default", log.log());
    let tag = common
        .with_aad(Compression::Zstd, SECOND, Kind(97), AT, |aad| {
            keyed.encrypt(&[5; 12], aad, &mut text)
        })
        .ok()
        .unwrap();
    let head = [VERSION, 1, CODEC_MESSAGEPACK, 1, 0, 1, b'a'];
    let body = [&head[..], &[5; 12], &text, &tag].concat();
    let record =
        Record { position: SECOND, kind: Kind(97), at: AT, body: Sealed::from_stored(body) };
    (log, record)
}

#[test]
fn a_zstd_frame_that_lies_is_corrupt_and_takes_no_memory() {
    let real = zstd::bulk::compress(&[7; 2000], 1).unwrap();
    let (log, record) = sealed_frame(&real);
    assert_eq!(log.open_plain(&record).unwrap().as_bytes(), [7; 2000]);

    let bomb = zstd::bulk::compress(&vec![0; PLAIN_BYTES_MAX + 1], 1).unwrap();
    // A descriptor with an eight-byte content size: 2^60 bytes.
    let claim =
        [&b"\x28\xB5\x2F\xFD\xE0"[..], &(1_u64 << 60).to_le_bytes(), b"\x01\x00\x00"].concat();
    let unsized_frame = b"\x28\xB5\x2F\xFD\x00\x58\x01\x00\x00".to_vec();
    let twice = [&real[..], &real].concat();
    let mut more = real.clone();
    // The content size of two bytes stands after magic and descriptor, less 256.
    more[5..7].copy_from_slice(&(3000_u16 - 256).to_le_bytes());
    for frame in [bomb, claim, unsized_frame, twice, more, real[..5].to_vec(), b"no frame".to_vec()]
    {
        let (log, record) = sealed_frame(&frame);
        let error = log.open_plain(&record).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("zstd"), "{error}");
    }
}

#[test]
fn what_could_not_be_opened_again_is_not_sealed() {
    let log = fresh(&keyed("default"), run("r"));
    let plain = Plain::new(vec![0; PLAIN_BYTES_MAX + 1]);
    let error = log.seal_plain(SECOND, Kind(97), AT, &plain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!((error.log_id(), error.at_position()), (Some(&run("r")), Some(SECOND)));
    let event = completed(plain.as_bytes());
    assert_eq!(log.seal(SECOND, AT, &event).unwrap_err().kind(), ErrorKind::TooLarge);
}

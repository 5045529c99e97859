//! `bw::Buffer`.

use bw::Buffer;

#[test]
fn a_buffer_is_aligned_and_zeroed() {
    for size in [4096, 12288, 1 << 20] {
        let buffer = Buffer::new_aligned(size);
        assert_eq!(buffer.len(), size);
        assert_eq!(buffer.as_ptr() as usize % 4096, 0);
        assert!(buffer.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn it_can_be_filled_and_moved_to_another_thread() {
    let mut buffer = Buffer::new_aligned(4096);
    buffer.fill(7);
    let buffer = std::thread::spawn(move || {
        assert!(buffer.iter().all(|byte| *byte == 7));
        buffer
    });
    assert_eq!(buffer.join().unwrap()[4095], 7);
}

#[test]
fn other_sizes_are_refused() {
    for size in [0, 1, 4095, 4097, usize::MAX] {
        assert_eq!(Buffer::try_new_aligned(size).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
    let most = usize::MAX - 4095;
    assert_eq!(Buffer::try_new_aligned(most).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
}

#[test]
#[should_panic(expected = "a multiple of 4096 and not 0; 100 is not")]
fn a_wrong_size_is_named_in_the_panic() {
    Buffer::new_aligned(100);
}

#[test]
fn debug_shows_its_length() {
    assert!(format!("{:?}", Buffer::new_aligned(4096)).contains("length: 4096"));
}

//! What reaches the sink, and when.

use std::io::{IoSlice, Read, Seek, SeekFrom, Write};

use super::scripted::{Call, Order};
use super::{write, writer};

#[test]
fn small_writes_are_gathered_until_one_does_not_fit() {
    let (mut writer, told) = writer(8);
    for piece in [b"abc", b"def", b"ghi"] {
        assert_eq!(writer.write(piece).unwrap(), 3);
    }
    assert_eq!(told.calls(), [write(b"abcdef")]);
    assert_eq!(writer.buffer(), b"ghi");
}

#[test]
fn a_write_that_fills_the_buffer_stays_in_it() {
    let (mut writer, told) = writer(6);
    writer.write_all(b"abc").unwrap();
    writer.write_all(b"def").unwrap();
    assert_eq!(told.calls(), []);
    assert_eq!(writer.buffer(), b"abcdef");
    writer.write_all(b"g").unwrap();
    assert_eq!(told.calls(), [write(b"abcdef")]);
    assert_eq!(writer.buffer(), b"g");
}

#[test]
fn a_write_of_the_whole_capacity_goes_past_the_buffer_behind_what_is_in_it() {
    let (mut writer, told) = writer(4);
    assert_eq!(writer.write(b"abcd").unwrap(), 4);
    assert_eq!(told.calls(), [write(b"abcd")]);
    writer.write_all(b"e").unwrap();
    assert_eq!(writer.write(b"fghij").unwrap(), 5);
    assert_eq!(told.calls(), [write(b"e"), write(b"fghij")]);
}

#[test]
fn a_sink_that_takes_part_of_a_large_write_is_asked_once_by_write_and_again_by_write_all() {
    let (mut writer, told) = writer(4);
    told.order(Order::Take(2));
    assert_eq!(writer.write(b"abcdef").unwrap(), 2);
    assert_eq!(told.calls(), [write(b"abcdef")]);
    told.order(Order::Take(1));
    writer.write_all(b"cdefgh").unwrap();
    assert_eq!(told.calls(), [write(b"cdefgh"), write(b"defgh")]);
    assert_eq!(told.taken(), b"abcdefgh");
}

#[test]
fn capacity_0_and_1_keep_nothing_back() {
    for capacity in [0, 1] {
        let (mut writer, told) = writer(capacity);
        assert_eq!(writer.capacity(), 1);
        assert_eq!(writer.write(b"").unwrap(), 0);
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        assert_eq!(told.calls(), [write(b"a"), write(b"bc")]);
    }
}

#[test]
fn nothing_is_written_where_there_is_nothing() {
    let (mut writer, told) = writer(4);
    assert_eq!(writer.write(b"").unwrap(), 0);
    assert_eq!(writer.write_vectored(&[]).unwrap(), 0);
    assert_eq!(writer.write_vectored(&[IoSlice::new(b"")]).unwrap(), 0);
    writer.write_all(b"").unwrap();
    writer.flush().unwrap();
    assert_eq!(told.calls(), [Call::Flush]);
}

#[test]
fn flush_writes_out_the_rest_and_flushes_the_sink() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Take(1));
    writer.flush().unwrap();
    assert_eq!(told.calls(), [write(b"abc"), write(b"bc"), Call::Flush]);
    assert_eq!(writer.buffer(), b"");
    writer.write_all(b"def").unwrap();
    assert_eq!(writer.buffer(), b"def");
}

#[test]
fn parts_are_copied_if_they_fit_a_buffer_and_else_go_out_together() {
    let (mut writer, told) = writer(8);
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(writer.write_vectored(&parts).unwrap(), 5);
    assert_eq!(told.calls(), []);
    assert_eq!(writer.write_vectored(&parts).unwrap(), 5);
    assert_eq!(told.calls(), [write(b"abcde")]);
    let long = [IoSlice::new(b"12345"), IoSlice::new(b"6789")];
    assert_eq!(writer.write_vectored(&long).unwrap(), 9);
    assert_eq!(told.calls(), [write(b"abcde"), Call::WriteVectored(vec![b"12345".to_vec(), b"6789".to_vec()])]);
}

#[test]
fn a_seek_writes_out_the_buffer_and_then_moves_the_sink() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    assert_eq!(writer.seek(SeekFrom::End(-3)).unwrap(), 77);
    assert_eq!(told.calls(), [write(b"abc"), Call::Seek(SeekFrom::End(-3))]);
}

#[test]
fn a_read_goes_straight_to_the_sink() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    assert_eq!(writer.read(&mut [0; 5]).unwrap(), 0);
    assert_eq!(told.calls(), [Call::Read(5)]);
    assert_eq!(writer.buffer(), b"abc");
}

#[test]
fn what_is_written_to_the_sink_directly_does_not_wait() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    writer.get_mut().write_all(b"now").unwrap();
    writer.flush().unwrap();
    assert_eq!(told.taken(), b"nowabc");
}

#[test]
fn a_writer_goes_on_in_another_thread() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    let thread = std::thread::spawn(move || {
        writer.write_all(b"def").unwrap();
        writer
    });
    thread.join().unwrap().flush().unwrap();
    assert_eq!(told.taken(), b"abcdef");
}

//! Lanes in front of a file.

use std::io::{IoSlice, Write};

use bw::Level;

use super::support::{Gate, empty, small};

#[test]
fn records_of_lanes_are_whole_and_each_lanes_in_order() {
    const LANES: usize = 4;
    const RECORDS: usize = 5000;
    let (file, path) = empty();
    std::thread::scope(|scope| {
        for name in 0..LANES {
            let mut lane = file.lane_with_capacity(512).unwrap();
            scope.spawn(move || {
                for number in 0..RECORDS {
                    lane.write_all(format!("{name} {number}\n").as_bytes()).unwrap();
                }
                lane.close().unwrap();
            });
        }
    });
    file.close().unwrap();
    let mut next = [0; LANES];
    for line in std::fs::read_to_string(&path).unwrap().lines() {
        let (name, number) = line.split_once(' ').unwrap();
        let next = &mut next[name.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*next));
        *next += 1;
    }
    assert_eq!(next, [RECORDS; LANES]);
}

#[test]
fn what_fits_what_does_not_and_what_is_longer_come_out_in_order() {
    let (file, path) = empty();
    let mut lane = file.lane_with_capacity(8).unwrap();
    let mut expected = Vec::new();
    for length in [3, 3, 3, 8, 1, 7, 20, 2, 6] {
        let piece: Vec<u8> = (0..length).map(|at| (expected.len() + at) as u8).collect();
        lane.write_all(&piece).unwrap();
        expected.extend(piece);
        assert_eq!(lane.position(Level::Accepted).unwrap(), expected.len() as u64);
    }
    for parts in [[2, 3], [1, 4], [9, 9]] {
        let parts = parts.map(|length| vec![length as u8; length]);
        let slices = parts.each_ref().map(|part| IoSlice::new(part));
        assert_eq!(lane.write_vectored(&slices).unwrap(), parts.concat().len());
        expected.extend(parts.concat());
    }
    assert_eq!(lane.write(b"").unwrap(), 0);
    assert_eq!(lane.write_vectored(&[]).unwrap(), 0);
    lane.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), expected);
}

#[test]
fn appends_and_writes_of_a_lane_follow_one_another() {
    let (file, path) = empty();
    let mut lane = file.lane().unwrap();
    lane.write_all(b"one, ").unwrap();
    assert_eq!(lane.append(b"two, ").unwrap(), 5);
    lane.write_all(b"three").unwrap();
    lane.wait(15, Level::Durable, None).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"one, two, three");
    lane.write_all(b".").unwrap();
    lane.sync().unwrap();
    assert_eq!(lane.position(Level::Durable).unwrap(), 16);
}

#[test]
fn dropping_a_lane_hands_on_what_it_has() {
    let (file, path) = empty();
    let mut lane = file.lane().unwrap();
    lane.write_all(b"text").unwrap();
    drop(lane);
    file.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

#[test]
fn a_lane_outlives_the_files_handles() {
    let (file, path) = empty();
    let mut lane = file.lane().unwrap();
    drop(file);
    lane.write_all(b"text").unwrap();
    lane.file().append(b"more").unwrap();
    drop(lane);
    assert_eq!(std::fs::read(&path).unwrap(), b"moretext");
}

#[test]
fn a_file_with_lanes_is_busy() {
    let (file, _path) = empty();
    let lane = file.lane().unwrap();
    assert_eq!(file.close().unwrap_err().raw_os_error(), Some(libc::EBUSY));
    lane.close().unwrap();
    file.close().unwrap();
}

#[test]
fn a_lane_reports_what_its_file_refuses_and_keeps_the_bytes() {
    let sink = Gate::default();
    let file = small(&sink);
    let mut lane = file.lane().unwrap();
    sink.set(|state| state.errno = Some(libc::ENOSPC));
    file.append(b"file, ").unwrap();
    file.flush().unwrap_err();
    lane.write_all(b"lane").unwrap();
    assert_eq!(lane.flush().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    sink.set(|state| state.errno = None);
    file.resume().unwrap();
    lane.flush().unwrap();
    assert_eq!(sink.taken(), b"file, lane");
}

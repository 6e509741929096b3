//! `memchurn THREADS MIB ROUNDS`: each thread, in each round, maps so much memory, writes to every page, makes it
//! read-only and back, and gives it back. Says whether every page kept what was in it; exit status 1 if not.
//!
//! Under a paravirtualised kernel each of these steps is a stream of page-table updates that the hypervisor checks.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::thread;

use memmap2::MmapMut;

const PAGE: usize = 4096;

/// Protection changes go piece by piece, so that areas split and merge.
const PIECE: usize = 64 * PAGE;

fn main() -> ExitCode {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map_while(|arg| arg.parse().ok())
        .collect();
    let [threads, mib, rounds] = numbers[..] else {
        eprintln!("usage: memchurn THREADS MIB ROUNDS");
        return ExitCode::from(2);
    };
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            thread::spawn(move || (0..rounds).try_for_each(|round| churn(mib, thread, round)))
        })
        .collect();
    let mut good = true;
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                println!("memchurn: {fault}");
                good = false;
            }
            Err(_) => good = false,
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One round of one thread.
fn churn(mib: usize, thread: usize, round: usize) -> Result<(), String> {
    let failed = |what: &str, err: std::io::Error| format!("cannot {what} memory: {err}");
    let mut pieces = (0..(mib << 20) / PIECE)
        .map(|_| MmapMut::map_anon(PIECE))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|err| failed("map", err))?;
    for (number, piece) in pieces.iter_mut().enumerate() {
        for (page, bytes) in piece.chunks_exact_mut(PAGE).enumerate() {
            bytes[..8].copy_from_slice(&stamp(thread, round, number, page).to_le_bytes());
        }
    }
    let mut kept = Vec::with_capacity(pieces.len());
    for (number, piece) in pieces.into_iter().enumerate() {
        // Every third piece stays writable, between read-only neighbours.
        if number % 3 == 0 {
            kept.push(piece);
            continue;
        }
        let fixed = piece
            .make_read_only()
            .map_err(|err| failed("protect", err))?;
        check(&fixed, thread, round, number)?;
        kept.push(fixed.make_mut().map_err(|err| failed("unprotect", err))?);
    }
    for (number, piece) in kept.iter_mut().enumerate() {
        check(piece, thread, round, number)?;
        piece[PAGE - 8..PAGE].fill(1);
    }
    // From the middle out, so that what is left falls apart before it goes.
    while !kept.is_empty() {
        drop(kept.swap_remove(kept.len() / 2));
    }
    Ok(())
}

/// Every page starts with its stamp.
fn check(piece: &[u8], thread: usize, round: usize, number: usize) -> Result<(), String> {
    for (page, bytes) in piece.chunks_exact(PAGE).enumerate() {
        let want = stamp(thread, round, number, page).to_le_bytes();
        if bytes[..8] != want {
            return Err(format!(
                "thread {thread}, round {round}, piece {number}, page {page}: {:x?} instead of {want:x?}",
                &bytes[..8]
            ));
        }
    }
    Ok(())
}

/// A number that no other page has.
fn stamp(thread: usize, round: usize, piece: usize, page: usize) -> u64 {
    let place = ((thread << 16 | round) << 32) | (piece << 8) | page;
    (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

//! Taking the hypervisor's own lines out of a console that dom0 shares with it.
//!
//! The hypervisor prints whole lines, but wherever dom0's output happens to be, also in the middle of a line.

/// How every line of the hypervisor starts.
const START: &[u8] = b"(XEN) ";

/// Removes `(XEN) …` lines from a stream that comes in pieces.
#[derive(Default)]
pub(crate) struct Filter {
    /// So many bytes of [`START`] have come and may turn out to be one.
    matched: usize,
    /// Inside a line of the hypervisor.
    inside: bool,
}

impl Filter {
    /// Appends to `out` what is not the hypervisor's. What may be the start of its line is kept back until the
    /// next piece decides.
    pub(crate) fn pass(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if self.inside {
                self.inside = byte != b'\n';
                continue;
            }
            if byte != START[self.matched] {
                // No byte of START but its first equals the first: nothing of what was kept back starts anew.
                out.extend_from_slice(&START[..self.matched]);
                self.matched = 0;
            }
            if byte == START[self.matched] {
                self.matched += 1;
                if self.matched == START.len() {
                    self.matched = 0;
                    self.inside = true;
                }
            } else {
                out.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    fn filtered(pieces: &[&str]) -> String {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        for piece in pieces {
            filter.pass(piece.as_bytes(), &mut out);
        }
        String::from_utf8(out).expect("text in, text out")
    }

    #[test]
    fn lines_in_the_middle_of_lines_go() {
        assert_eq!(
            filtered(&["@@ 246 end 0(XEN) d12: mapping\n(XEN) d12: go\n\n"]),
            "@@ 246 end 0\n"
        );
    }

    #[test]
    fn pieces_may_break_anywhere() {
        assert_eq!(filtered(&["a(", "XE", "N", ") x", "y\nb"]), "ab");
        assert_eq!(filtered(&["a(X", "b((XEN) c\n)"]), "a(Xb()");
    }

    #[test]
    fn what_is_no_such_line_stays() {
        assert_eq!(
            filtered(&["Domain (XE) (XEN): x\n"]),
            "Domain (XE) (XEN): x\n"
        );
    }
}

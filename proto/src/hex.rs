//! Hex digits of identifiers in bytes from outside.

/// Parses hex digits into `bytes`; false if they are not hex or of another length.
#[inline]
pub(crate) fn parse(digits: &[u8], bytes: &mut [u8]) -> bool {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return false;
    }
    let mut seen = 0;
    for (byte, [upper, lower]) in bytes.iter_mut().zip(pairs) {
        let (upper, lower) = (HEX[usize::from(*upper)], HEX[usize::from(*lower)]);
        seen |= upper | lower;
        *byte = upper << 4 | lower;
    }
    seen < 0x10
}

/// The same for fewer digits, too: zeros stand in front of them. No digits, or too many, are false.
#[inline]
pub(crate) fn parse_padded(digits: &[u8], bytes: &mut [u8]) -> bool {
    if digits.is_empty() || digits.len() > 2 * bytes.len() {
        return false;
    }
    let whole = digits.len() / 2;
    let (front, back) = bytes.split_at_mut(bytes.len() - whole);
    front.fill(0);
    let (odd, pairs) = digits.split_at(digits.len() % 2);
    if let ([digit], Some(last)) = (odd, front.last_mut()) {
        *last = HEX[usize::from(*digit)];
        if *last > 0x0f {
            return false;
        }
    }
    parse(pairs, back)
}

/// The value of each byte as a hex digit; 0xff for other bytes.
static HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        table["0123456789abcdef".as_bytes()[digit] as usize] = digit as u8;
        table["0123456789ABCDEF".as_bytes()[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_identifiers_are_padded_on_the_left() {
        for (digits, value) in [("1", 1), ("aB", 0xab), ("fff", 0xfff), ("00000000deadBEEF", 0xdead_beef)] {
            let mut bytes = [7; 8];
            assert!(parse_padded(digits.as_bytes(), &mut bytes), "{digits}");
            assert_eq!(u64::from_be_bytes(bytes), value, "{digits}");
        }
        for digits in ["", "g", "0g", "g0", "x123", "00000000000000001"] {
            assert!(!parse_padded(digits.as_bytes(), &mut [0; 8]), "{digits}");
        }
        assert!(!parse(b"123", &mut [0; 2]));
    }
}

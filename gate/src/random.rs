//! Random texts from the operating system, for keys and sessions.

/// Draws characters of `alphabet`, each with the same probability. The alphabet has at most 256 characters.
pub(crate) fn text(length: usize, alphabet: &[u8]) -> Result<String, getrandom::Error> {
    // A byte at or above the largest multiple of the alphabet's length would prefer the first characters.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes)?;
        let drawn = bytes.iter().filter(|byte| usize::from(**byte) < fair);
        let drawn = drawn.map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]));
        text.extend(drawn.take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_every_character_and_no_other() {
        let drawn = text(20_000, b"abc").unwrap();
        assert_eq!(drawn.len(), 20_000);
        for letter in "abc".chars() {
            let count = drawn.matches(letter).count();
            // Six standard deviations of a fair draw: 400.
            assert!((6_267..7_067).contains(&count), "{letter}: {count}");
        }
    }
}

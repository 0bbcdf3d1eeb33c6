//! What it costs to guess the phrase of a closed server: one derivation of a key for each guess, on one core.

use fernchat::seal::{Key, Secret};

use super::sockets::{Outcome, cpu_secs};

/// How many are tried.
const N_GUESSES: u32 = 50;

pub fn measure() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("secret");
    std::fs::write(&file, "the correct horse")?;
    let secret = Secret::load(&file).map_err(|error| error.to_string())?;
    // Processor time: other programs do not count.
    let start = cpu_secs("self")?;
    for _ in 0..N_GUESSES {
        secret.derive(&Key::generate());
    }
    let rate = f64::from(N_GUESSES) / (cpu_secs("self")? - start);
    println!("{rate:.1} guesses a second on one core");
    Ok(())
}

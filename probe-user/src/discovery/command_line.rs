//! What a process was started as: its arguments, and for a JVM the main class and what comes after it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The kernel takes no longer list of arguments with default limits (a quarter of the stack).
pub(crate) const COMMAND_LINE_LIMIT: u64 = 2 << 20;

/// One file of arguments may hold a class path; the launcher reads nothing larger that makes sense.
pub(crate) const ARGUMENT_FILE_LIMIT: u64 = 1 << 20;

/// Options of the `java` launcher whose value is the next argument (its man page, "Standard Options").
const WITH_VALUE: [&[u8]; 16] = [
    b"-cp",
    b"-classpath",
    b"--class-path",
    b"-p",
    b"--module-path",
    b"--upgrade-module-path",
    b"--add-modules",
    b"--limit-modules",
    b"--enable-native-access",
    b"--illegal-native-access",
    b"--add-reads",
    b"--add-exports",
    b"--add-opens",
    b"--patch-module",
    b"--source",
    b"-splash",
];

/// Arguments as the kernel keeps them. A process may overwrite them, so they are a hint and never trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    arguments: Vec<Vec<u8>>,
}

/// What a JVM runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Main {
    /// A class by its full name.
    Class(String),
    /// `-jar`: the class is in the archive's manifest.
    Jar(PathBuf),
}

/// The command line of a JVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JavaCommand {
    pub(crate) main: Main,
    /// What the main class gets.
    pub(crate) arguments: Vec<Vec<u8>>,
    /// What the JVM itself gets.
    pub(crate) options: Vec<Vec<u8>>,
}

impl CommandLine {
    /// From the text of /proc/PID/cmdline. Kernel threads and zombies have none.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        Some(Self { arguments: text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect() })
    }

    /// With blanks between, for the regular expressions of rules.
    pub(crate) fn joined(&self) -> Vec<u8> {
        self.arguments.join(&b' ')
    }

    /// The name of the program in its first argument.
    pub(crate) fn program(&self) -> &[u8] {
        self.arguments.first().map_or(b"", |path| base_name(path))
    }

    /// The arguments after the first.
    pub(crate) fn rest(&self) -> &[Vec<u8>] {
        self.arguments.get(1..).unwrap_or_default()
    }

    /// As the `java` launcher reads it. `read` gives the text of an `@file`.
    pub(crate) fn java(&self, mut read: impl FnMut(&Path) -> Option<Vec<u8>>) -> Option<JavaCommand> {
        let mut expanding = true;
        let mut options = Vec::new();
        let mut given = Vec::new();
        for (position, argument) in self.rest().iter().enumerate() {
            match argument.as_slice() {
                b"--disable-@files" => expanding = false,
                // `@@x` is the argument `@x`.
                [b'@', b'@', ..] if expanding => given.push(argument.get(1..).unwrap_or_default().to_vec()),
                [b'@', path @ ..] if expanding => {
                    given.extend(argument_file(&read(Path::new(OsStr::from_bytes(path)))?));
                }
                _ => given.push(argument.clone()),
            }
            // What follows the main class is not the launcher's to expand.
            if expanding && main_at(&given).is_some() {
                given.extend(self.rest().iter().skip(position + 1).cloned());
                break;
            }
        }
        let (position, main) = main_at(&given)?;
        options.extend(given.iter().take(position).cloned());
        Some(JavaCommand { main, arguments: given.into_iter().skip(position + 1).collect(), options })
    }
}

impl JavaCommand {
    /// Whether the JVM was told so by a flag of this exact form, such as `-XX:-UsePerfData`.
    pub(crate) fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option.as_bytes())
    }
}

/// The last part of a path.
pub(crate) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// As text, whatever it is.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Where in the expanded arguments the main class stands.
fn main_at(arguments: &[Vec<u8>]) -> Option<(usize, Main)> {
    let mut position = 0;
    while let Some(argument) = arguments.get(position) {
        let next = || arguments.get(position + 1);
        match argument.as_slice() {
            b"-jar" => return Some((position + 1, Main::Jar(PathBuf::from(OsStr::from_bytes(next()?))))),
            b"-m" | b"--module" => return Some((position + 1, Main::Class(module_class(next()?)))),
            option if option.starts_with(b"--module=") => {
                return Some((position, Main::Class(module_class(option.get(9..).unwrap_or_default()))));
            }
            option if WITH_VALUE.contains(&option) => position += 2,
            option if option.starts_with(b"-") => position += 1,
            // `java a/b/C` is an old way to write `java a.b.C`.
            class => return Some((position, Main::Class(text(class).replace('/', ".")))),
        }
    }
    None
}

/// `module/class`, or only a module, whose main class is its own secret.
fn module_class(module: &[u8]) -> String {
    text(module.rsplit(|byte| *byte == b'/').next().unwrap_or(module)).into_owned()
}

/// The arguments in a file: parted by white space, quoted, `#` to the end of the line is a comment.
fn argument_file(file: &[u8]) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    let mut current: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = file.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'#') if current.is_none() => while bytes.next_if(|byte| *byte != b'\n').is_some() {},
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                current.get_or_insert_default();
            }
            (Some(open), close) if open == close => quote = None,
            (Some(_), b'\\') => match bytes.next() {
                // A line goes on in the next, without its indentation.
                Some(b'\n') => while bytes.next_if(|byte| matches!(byte, b' ' | b'\t')).is_some() {},
                Some(escaped) => current.get_or_insert_default().push(unescaped(escaped)),
                None => (),
            },
            (None, white) if white.is_ascii_whitespace() => arguments.extend(current.take()),
            (_, byte) => current.get_or_insert_default().push(byte),
        }
    }
    arguments.extend(current);
    arguments
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'f' => 0x0c,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn java(line: &str) -> Option<JavaCommand> {
        let text = line.split(' ').collect::<Vec<_>>().join("\0") + "\0";
        CommandLine::parse(text.as_bytes())?.java(|_| None)
    }

    fn main_class(line: &str) -> Option<String> {
        match java(line)?.main {
            Main::Class(class) => Some(class),
            Main::Jar(path) => Some(path.display().to_string()),
        }
    }

    #[test]
    fn main_class_is_the_first_argument_that_is_no_option_nor_the_value_of_one() {
        let cases = [
            ("java -Xmx1G -cp /opt/kafka.Kafka/libs/* kafka.Kafka server.properties", "kafka.Kafka"),
            (
                "/usr/bin/java -XX:+UseG1GC -Dx=kafka.Kafka -classpath a:b org.example.Main kafka.Kafka",
                "org.example.Main",
            ),
            ("java --add-opens java.base/java.lang=ALL-UNNAMED --class-path=x kafka/Kafka p", "kafka.Kafka"),
            ("java -p mods -m org.app/org.app.Main x", "org.app.Main"),
            ("java -Xmx1G -jar /opt/app.jar kafka.Kafka", "/opt/app.jar"),
        ];
        for (line, main) in cases {
            assert_eq!(main_class(line).as_deref(), Some(main), "{line}");
        }
        for line in ["java", "java -version", "java -cp", "java -jar"] {
            assert_eq!(main_class(line), None, "{line}");
        }
    }

    #[test]
    fn arguments_of_the_main_class_are_apart_from_those_of_the_jvm() {
        let command = java("java -XX:-UsePerfData kafka.Kafka /etc/s.properties --override broker.id=3").unwrap();
        assert!(command.has_option("-XX:-UsePerfData"));
        assert_eq!(command.arguments, [&b"/etc/s.properties"[..], b"--override", b"broker.id=3"]);
    }

    #[test]
    fn files_of_arguments_are_expanded_before_the_main_class_only() {
        let line = CommandLine::parse(b"java\0@/etc/jvm\0kafka.Kafka\0@notafile\0").unwrap();
        let file = b"# the heap\n-Xmx1G -cp \"/opt/with blank/a.jar:\\\n    /opt/b.jar\"\n'-Dx=\\\\y'";
        let mut asked = Vec::new();
        let command = line.java(|path| {
            asked.push(path.to_owned());
            Some(file.to_vec())
        });
        let command = command.unwrap();
        assert_eq!(asked, [Path::new("/etc/jvm")]);
        assert_eq!(command.main, Main::Class("kafka.Kafka".to_owned()));
        assert_eq!(command.arguments, [b"@notafile"]);
        assert_eq!(command.options, [&b"-Xmx1G"[..], b"-cp", b"/opt/with blank/a.jar:/opt/b.jar", b"-Dx=\\y"]);
    }

    #[test]
    fn a_command_line_without_arguments_is_a_kernel_thread_or_zombie() {
        assert_eq!(CommandLine::parse(b""), None);
        assert_eq!(CommandLine::parse(b"\0"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text: Vec<u8>, file: Vec<u8>) {
            if let Some(line) = CommandLine::parse(&text) {
                _ = line.java(|_| Some(file.clone()));
                _ = (line.joined(), line.program().len());
            }
        }
    }
}

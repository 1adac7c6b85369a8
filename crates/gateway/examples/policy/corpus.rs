//! A corpus of secrets, and of what looks like them: made, so that no key of anybody stands in a file.

use super::figures::Counts;
use ingle_gateway::policy::{Class, Scanner, apart};
use std::collections::BTreeMap;

/// A text, the secret in it if there is one, and of which kind it or its near miss is.
pub struct Line {
    pub text: String,
    pub secret: Option<(usize, usize)>,
    pub kind: &'static str,
}

/// Numbers that a seed gives (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn of(&mut self, letters: &str, n: usize) -> String {
        let letters: Vec<char> = letters.chars().collect();
        (0..n).map(|_| letters[self.below(letters.len())]).collect()
    }
}

const HEX: &str = "0123456789abcdef";
const SMALL: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const CAPS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const URL64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const B64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Vendors' forms, written from their documentation: pieces that are put together, letters and how many.
const VENDORS: &[(&[&str], &str, usize)] = &[
    (&["AK", "IA"], CAPS, 16),
    (&["AS", "IA"], CAPS, 16),
    (&["gh", "p_"], ALNUM, 36),
    (&["gh", "s_"], ALNUM, 36),
    (&["github", "_pat_"], ALNUM, 82),
    (&["gl", "pat-"], URL64, 20),
    (&["xo", "xb-"], ALNUM, 50),
    (&["sk", "_live_"], ALNUM, 24),
    (&["rk", "_live_"], ALNUM, 24),
    (&["wh", "sec_"], ALNUM, 32),
    (&["sk", "-ant-", "api03-"], URL64, 93),
    (&["sk", "-proj-"], URL64, 74),
    (&["sk", "-"], ALNUM, 48),
    (&["AI", "za"], URL64, 35),
    (&["GOC", "SPX-"], URL64, 28),
    (&["hf", "_"], ALNUM, 34),
    (&["np", "m_"], ALNUM, 36),
    (&["py", "pi-AgEI"], URL64, 120),
    (&["do", "p_v1_"], HEX, 64),
    (&["shp", "at_"], HEX, 32),
    (&["da", "pi"], HEX, 32),
    (&["gl", "sa_"], ALNUM, 32),
    (&["hv", "s."], URL64, 26),
    (&["lin", "_api_"], ALNUM, 40),
    (&["r8", "_"], ALNUM, 37),
    (&["gs", "k_"], ALNUM, 52),
    (&["pp", "lx-"], SMALL, 48),
    (&["LT", "AI"], ALNUM, 20),
    (&["ts", "key-auth-", "kAbC12CNTRL-"], ALNUM, 32),
    (&["nf", "p_"], ALNUM, 36),
    (&["key", "-"], HEX, 32),
];

const AROUND: &[(&str, &str)] = &[
    ("", ""),
    ("export API_KEY=", ""),
    ("{\"auth\": \"", "\"}"),
    (
        "curl -H 'Authorization: Bearer ",
        "' https://api.service.io/v1/me",
    ),
    ("I pasted ", " into the config, why does it say 401?"),
    ("const client = new Client({ apiKey: '", "' });"),
    ("2026-03-01 ERROR request failed token=", " status=403"),
    ("key: ", "\n"),
    ("```\n", "\n```"),
];

fn pem(dice: &mut Dice) -> String {
    let kind = dice.pick(&["RSA ", "EC ", "OPENSSH ", "", "DSA ", "ENCRYPTED "]);
    let lines: Vec<String> = (0..6 + dice.below(20)).map(|_| dice.of(B64, 64)).collect();
    let dashes = "-".repeat(5);
    let word = ["PRIVATE", "KEY"].join(" ");
    format!(
        "{dashes}BEGIN {kind}{word}{dashes}\n{}\n{dashes}END {kind}{word}{dashes}",
        lines.join("\n")
    )
}

fn jwt(dice: &mut Dice) -> String {
    let (a, b, c) = (dice.of(URL64, 33), dice.of(URL64, 90), dice.of(URL64, 43));
    format!("ey{}{a}.eyJ{b}.{c}", "J")
}

fn password(dice: &mut Dice) -> String {
    let word = dice.pick(&[
        "Sommer",
        "tr0ub4dor",
        "Falcon",
        "winter",
        "Qwerty",
        "hunter",
        "Blau",
        "Monkey",
    ]);
    let sign = dice.pick(&["!", "#", "_", "", "$", "%", "-"]);
    format!(
        "{word}{}{sign}{}",
        dice.below(9000) + 100,
        dice.of(ALNUM, 2)
    )
}

/// A secret between what stands around it.
fn positive(dice: &mut Dice, kind: &'static str) -> Line {
    let (before, secret, after) = match kind {
        "vendor key" => {
            let (head, letters, n) = VENDORS[dice.below(VENDORS.len())];
            let (before, after) = AROUND[dice.below(AROUND.len())];
            let mut key = head.concat();
            key.push_str(&dice.of(letters, n));
            if key.starts_with("glsa") {
                key = format!("{key}_{}", dice.of(HEX, 8));
            }
            (before.to_owned(), key, after.to_owned())
        }
        "JSON web token" => {
            let (before, after) = AROUND[dice.below(AROUND.len())];
            (before.to_owned(), jwt(dice), after.to_owned())
        }
        "private key" => {
            let before = dice.pick(&[
                "",
                "Here is my key:\n",
                "cat ~/.ssh/id_rsa\n",
                "key = \"\"\"\n",
            ]);
            (before.to_owned(), pem(dice), "\n".to_owned())
        }
        "connection string" => {
            let scheme = dice.pick(&[
                "postgres",
                "mysql",
                "mongodb+srv",
                "redis",
                "amqp",
                "https",
                "ftp",
            ]);
            let user = dice.pick(&["admin", "app", "root", "svc_user", ""]);
            let host = dice.pick(&[
                "db.internal:5432/app",
                "10.0.0.4/main",
                "cluster0.mongodb.net/test",
                "git.corp.io/x.git",
            ]);
            let url = format!("{scheme}://{user}:{}@{host}", password(dice));
            let before = dice.pick(&["DATABASE_URL=", "connect to ", "url: ", "dsn = '"]);
            (before.to_owned(), url, " ".to_owned())
        }
        "assigned password" => {
            let (before, after) = [
                ("DB_PASSWORD=", "\n"),
                ("password: ", "\n"),
                ("\"password\": \"", "\", \"user\": \"x\""),
                ("mysql -u root --password=", " app"),
                ("my password is ", ", can you log in?"),
                ("spring.datasource.password = ", "\n"),
                ("User Id=sa;Password=", ";Server=db1"),
                ("<password>", "</password>"),
                ("pwd='", "'"),
                ("passphrase: \"", "\""),
            ][dice.below(10)];
            (before.to_owned(), password(dice), after.to_owned())
        }
        "assigned token" => {
            let letters = [HEX, ALNUM, URL64][dice.below(3)];
            let n = 20 + dice.below(40);
            let (before, after) = [
                ("client_secret=", "&grant_type=x"),
                ("SECRET_KEY = '", "'"),
                ("\"access_token\": \"", "\""),
                ("X-Api-Key: ", "\n"),
                ("auth_token => \"", "\","),
                ("  token: ", "\n"),
                ("?api_key=", " HTTP/1.1"),
                ("ENCRYPTION_KEY=", "\n"),
            ][dice.below(8)];
            (before.to_owned(), dice.of(letters, n), after.to_owned())
        }
        _ => {
            let n = 28 + dice.below(30);
            let (before, after) = [
                ("The secret for staging was ", " I think"),
                ("here are the credentials you asked for:\n", "\n"),
                ("use this key ", " and tell me what fails"),
                ("password reset token -> ", "\n"),
            ][dice.below(4)];
            (before.to_owned(), dice.of(ALNUM, n), after.to_owned())
        }
    };
    let start = before.len();
    let end = start + secret.len();
    Line {
        text: format!("{before}{secret}{after}"),
        secret: Some((start, end)),
        kind,
    }
}

/// What looks like a secret and is none.
fn near_miss(dice: &mut Dice, kind: &'static str) -> Line {
    let text = match kind {
        "commit" => {
            let before = dice.pick(&[
                "commit ",
                "git checkout ",
                "fixed in ",
                "Merge ",
                "rev = \"",
                "at ",
            ]);
            format!("{before}{}", dice.of(HEX, 40))
        }
        "UUID" => {
            let id = [8, 4, 4, 4, 12].map(|n| dice.of(HEX, n)).join("-");
            let before = dice.pick(&["id: ", "session_id=", "token id ", "key: ", "trace "]);
            format!("{before}{id}")
        }
        "digest" => {
            let n = [32, 40, 64, 96][dice.below(4)];
            let before = dice.pick(&[
                "sha256:",
                "md5 ",
                "checksum = ",
                "integrity: sha512-",
                "ETag: ",
                "digest ",
            ]);
            format!("{before}{}", dice.of(HEX, n))
        }
        "picture" => {
            let head = dice.pick(&[
                "<img src=\"data:image/png;base64,iVBORw0KGgo",
                "url(data:image/jpeg;base64,/9j/4AAQ",
            ]);
            format!("{head}{}", dice.of(B64, 400))
        }
        "placeholder" => dice
            .pick(&[
                "API_KEY=your-api-key-here",
                "password: changeme",
                "token = \"<your token>\"",
                "AWS_SECRET_ACCESS_KEY=${SECRET}",
                "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "password=********",
                "api_key: \"YOUR_API_KEY\"",
                "secret: {{ vault.secret }}",
                "export TOKEN=$MY_TOKEN",
                "postgres://user:password@localhost/db",
                "--password=<password>",
                "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "AKIAIOSFODNN7EXAMPLE",
                "Authorization: Bearer <token>",
                "client_secret=REPLACE_ME_PLEASE",
            ])
            .to_owned(),
        "program" => dice
            .pick(&[
                "password = getpass.getpass()",
                "let token = self.next_token();",
                "const apiKey = process.env.API_KEY;",
                "if token == Token::Eof {",
                "password: string;",
                "def check(password: str) -> bool:",
                "secret = os.environ[\"SECRET\"]",
                "tokens_per_second = 48.5",
                "max_tokens: 4096",
                "\"token_type\": \"Bearer\"",
                "key = sorted(d.keys())[0]",
                "SELECT password FROM users",
                "api_key=config.api_key",
                "primary_key: true",
                "token_count=1048576",
                "keyboard_layout = qwertz2",
                "password_reset_url = reverse('reset')",
                "private_key_path = /etc/ssl/key.pem",
                "secret_name: db-credentials",
            ])
            .to_owned(),
        "prose" => dice
            .pick(&[
                "The password is required to be at least 12 characters.",
                "What makes a password strong?",
                "I forgot my password, can you reset it?",
                "An access token is a string that says who you are.",
                "Our secret is good service.",
                "The key is to start early.",
                "Explain how JSON web tokens work.",
                "passwords are hashed with argon2",
                "The token was invalid, so we asked again.",
                "My password is not working since yesterday.",
                "The secret: practice every day.",
                "Generate a random key for me.",
            ])
            .to_owned(),
        "long name" => {
            let words = [
                "getUserAccountFactory",
                "KubernetesDeployment2",
                "com.example.service.v1beta1.Handler",
                "aws-cloudformation-stack-name-prod-2",
            ];
            format!("token handler {} failed", dice.pick(&words))
        }
        "address" => {
            let before = dice.pick(&["key docs: ", "see the token guide at ", ""]);
            format!(
                "{before}https://cdn.site.net/assets/{}/app.{}.js",
                dice.of(SMALL, 12),
                dice.of(HEX, 20)
            )
        }
        "public key" => format!(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} me@laptop",
            dice.of(B64, 43)
        ),
        _ => {
            let before = dice.pick(&["integrity sha512-", "\"integrity\": \"sha512-"]);
            format!("{before}{}==", dice.of(B64, 86))
        }
    };
    Line {
        text,
        secret: None,
        kind,
    }
}

pub const SECRETS: &[&str] = &[
    "vendor key",
    "JSON web token",
    "private key",
    "connection string",
    "assigned password",
    "assigned token",
    "random text",
];

pub const NEAR_MISSES: &[&str] = &[
    "commit",
    "UUID",
    "digest",
    "picture",
    "placeholder",
    "program",
    "prose",
    "long name",
    "address",
    "public key",
    "lock file",
];

/// `n` lines of each kind; vendors' keys four times as many.
pub fn make(seed: u64, n: usize) -> Vec<Line> {
    let mut dice = Dice(seed.max(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut lines = Vec::new();
    for kind in SECRETS {
        let n = if *kind == "vendor key" { 4 * n } else { n };
        lines.extend((0..n).map(|_| positive(&mut dice, kind)));
    }
    for kind in NEAR_MISSES {
        lines.extend((0..n).map(|_| near_miss(&mut dice, kind)));
    }
    lines
}

/// Counts by kind, and over all of them. A secret is hit when a find covers most of it; a find is right when
/// it touches one.
pub fn count(
    scanner: &Scanner,
    lines: &[Line],
    miss: &mut dyn FnMut(&str, &str, &str),
) -> BTreeMap<String, Counts> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut all = Counts::default();
    for line in lines {
        let finds = apart(scanner.scan(&line.text, &|| false).unwrap_or_default());
        let finds: Vec<_> = finds
            .iter()
            .filter(|f| f.kind.class() == Class::Secret)
            .collect();
        let mut one = Counts {
            found: finds.len(),
            ..Counts::default()
        };
        if let Some((start, end)) = line.secret {
            one.marked = 1;
            let covered: usize = finds
                .iter()
                .map(|f| f.end.min(end).saturating_sub(f.start.max(start)))
                .sum();
            one.hit = usize::from(covered * 10 >= (end - start) * 9);
            one.right = finds
                .iter()
                .filter(|f| f.start < end && f.end > start)
                .count();
        }
        if one.hit < one.marked {
            miss(line.kind, "missed", &format!("{:?}", line.text));
        }
        if one.right < one.found {
            let kinds: Vec<&str> = finds.iter().map(|f| f.kind.name()).collect();
            miss(line.kind, "wrong", &format!("{kinds:?} {:?}", line.text));
        }
        counts.entry(line.kind.to_owned()).or_default().add(one);
        all.add(one);
    }
    counts.insert("**all**".into(), all);
    counts
}

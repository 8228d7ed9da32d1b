//! The parser rules of protocol §1.4 and the composer rules of §1.5 once more, written from the
//! text alone and as close to it as can be: what is fast or elegant is the other implementation.

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1_4,
    V1_5,
    V2_0,
    Wwr1,
}

/// How the bytes of a payload are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Binary,
    Utf8,
    Utf16,
}

/// What bytes are, in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// No bytes, so no type.
    NoType,
    UnknownType(u8),
    /// Refused, before or after the identifier was read.
    Malformed {
        kind: u8,
        id: Option<[u8; 8]>,
    },
    Message(Fields),
}

/// All that a message of any type may hold. An error reply has its code as the name and its message
/// as the payload, a session key or object is a payload, and so is the number of a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) kind: u8,
    pub(crate) id: Option<[u8; 8]>,
    pub(crate) encoding: Encoding,
    pub(crate) name: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) conf: Option<Conf>,
    /// What client settings state: the longest message, how many questions, whether the client resumes
    /// signals, and its instance.
    pub(crate) stated: Option<(u32, u16, bool, Option<[u8; 16]>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    pub(crate) major: u8,
    pub(crate) minor: u8,
    pub(crate) timeout: u32,
    pub(crate) buffer: u32,
    /// Empty if there is none.
    pub(crate) sub_protocol: Vec<u8>,
}

/// The table of §1.2: which numbers are types in a version.
pub(crate) fn is_known(version: Version, kind: u8) -> bool {
    match kind {
        0..=5 | 21 | 22 | 31 | 32 | 63..=65 | 127..=129 | 191..=193 => true,
        6 => version != Version::V2_0,
        23 => version == Version::V2_0 || version == Version::Wwr1,
        7 | 8 | 11..=19 | 24..=30 | 130..=132 => version == Version::Wwr1,
        33 => version != Version::V1_4,
        _ => false,
    }
}

fn encoding(kind: u8) -> Encoding {
    match kind {
        12 | 16 | 26 | 64 | 128 | 131 | 192 => Encoding::Utf8,
        13 | 17 | 27 | 65 | 129 | 132 | 193 => Encoding::Utf16,
        _ => Encoding::Binary,
    }
}

/// The table of §1.4, row by row.
pub(crate) fn read(version: Version, m: &[u8]) -> Reading {
    let l = m.len();
    if l == 0 {
        return Reading::NoType;
    }
    let kind = m[0];
    if !is_known(version, kind) {
        return Reading::UnknownType(kind);
    }
    let malformed = |id| Reading::Malformed { kind, id };
    let mut fields = Fields {
        kind,
        id: None,
        encoding: encoding(kind),
        name: Vec::new(),
        payload: Vec::new(),
        conf: None,
        stated: None,
    };
    match kind {
        63 | 64 => {
            if l < 3 {
                return malformed(None);
            }
            let n = m[1] as usize;
            let empty = version == Version::V2_0 || version == Version::Wwr1;
            let least = if empty { 2 + n } else { 3 + n };
            if l < least {
                return malformed(None);
            }
            fields.name = m[2..2 + n].to_vec();
            fields.payload = m[2 + n..].to_vec();
        }
        65 => {
            if l < 4 || l % 2 == 1 {
                return malformed(None);
            }
            let n = m[1] as usize;
            let off = 2 + n + n % 2;
            if l < off + 2 {
                return malformed(None);
            }
            fields.name = m[2..2 + n].to_vec();
            fields.payload = m[off..].to_vec();
        }
        11..=13 | 15..=17 | 127..=132 => {
            let utf16 = matches!(kind, 13 | 17 | 129 | 132);
            if l < 11 || utf16 && l % 2 == 1 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
            let n = m[9] as usize;
            if n == 0 {
                fields.payload = m[10..].to_vec();
            } else {
                if l < 10 + n {
                    return malformed(fields.id);
                }
                fields.name = m[10..10 + n].to_vec();
                let pad = utf16 && n % 2 == 1 && l > 10 + n;
                fields.payload = m[10 + n + pad as usize..].to_vec();
            }
        }
        25 | 26 | 191 | 192 => {
            if l < 9 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
            fields.payload = m[9..].to_vec();
        }
        27 | 193 => {
            if l < 10 || l % 2 == 1 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
            fields.payload = m[10..].to_vec();
        }
        0 | 28 => {
            if l < 11 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
            let c = m[9] as usize;
            if c == 0 || l < 10 + c {
                return malformed(fields.id);
            }
            fields.name = m[10..10 + c].to_vec();
            fields.payload = m[10 + c..].to_vec();
        }
        18 => {
            if l < 18 {
                return malformed(None);
            }
            fields.payload = m[1..18].to_vec();
            if m[1] > 2 {
                fields.payload[0] = 2;
            }
        }
        19 => {
            if l < 17 {
                return malformed(None);
            }
            fields.payload = m[1..17].to_vec();
        }
        30 => {
            if l < 26 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
            fields.payload = m[9..].to_vec();
        }
        1..=8 => {
            if l < 9 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
        }
        21 => {
            if l < 2 {
                return malformed(None);
            }
            fields.payload = m[1..].to_vec();
        }
        22 | 33 => {
            if l != 1 {
                return malformed(None);
            }
        }
        14 | 31 => {
            if l != 9 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
        }
        32 => {
            if l < 10 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
            fields.payload = m[9..].to_vec();
        }
        23 => {
            if l < 11 {
                return malformed(None);
            }
            fields.conf = Some(Conf {
                major: m[1],
                minor: m[2],
                timeout: little_endian(&m[3..7]),
                buffer: little_endian(&m[7..11]),
                sub_protocol: m[11..].to_vec(),
            });
        }
        24 => {
            if l < 5 {
                return malformed(None);
            }
            let questions = if l < 7 { 0 } else { m[5] as u16 + 256 * m[6] as u16 };
            let abilities = if l < 8 { 0 } else { m[7] };
            let mut instance = None;
            if abilities / 2 % 2 == 1 && l >= 24 {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&m[8..24]);
                instance = Some(bytes);
            }
            let resumes = abilities % 2 == 1;
            fields.stated = Some((little_endian(&m[1..5]), questions, resumes, instance));
        }
        29 => {
            if l < 10 {
                return malformed(None);
            }
            fields.id = Some(identifier(m));
            fields.payload = vec![if m[9] > 3 { 0 } else { m[9] }];
        }
        other => unreachable!("{other} is no type"),
    }
    Reading::Message(fields)
}

fn identifier(m: &[u8]) -> [u8; 8] {
    [m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8]]
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number * 256 + u32::from(*byte))
}

/// The layouts of §1.3, for what the composers of §1.5 do not refuse.
pub(crate) fn write(version: Version, fields: &Fields) -> Option<Vec<u8>> {
    let Fields { kind, id, name, payload, conf, stated, .. } = fields;
    let printable = name.iter().all(|byte| (0x20..=0x7e).contains(byte));
    if !is_known(version, *kind) || !printable || name.len() > 255 {
        return None;
    }
    if matches!(kind, 11..=13 | 15..=17 | 127..=132) && name.is_empty() && payload.is_empty() {
        return None;
    }
    if (*kind == 0 || *kind == 28) && name.is_empty() {
        return None;
    }
    let mut m = vec![*kind];
    m.extend(id.iter().flatten());
    if matches!(kind, 0 | 11..=13 | 15..=17 | 28 | 63..=65 | 127..=132) {
        m.push(name.len() as u8);
        m.extend(name);
    }
    let padded = match kind {
        13 | 17 | 65 | 129 | 132 => name.len() % 2 == 1,
        27 | 193 => true,
        _ => false,
    };
    if padded {
        m.push(0);
    }
    m.extend(payload);
    if let Some(conf) = conf {
        m.extend([conf.major, conf.minor]);
        m.extend(conf.timeout.to_le_bytes());
        m.extend(conf.buffer.to_le_bytes());
        m.extend(&conf.sub_protocol);
    }
    if let Some(stated) = stated {
        let (longest, questions, resumes, instance) = stated;
        m.extend(longest.to_le_bytes());
        let abilities = *resumes as u8 + 2 * instance.is_some() as u8;
        if *questions > 0 || abilities > 0 {
            m.extend(questions.to_le_bytes());
        }
        if abilities > 0 {
            m.push(abilities);
        }
        m.extend(instance.iter().flatten());
    }
    Some(m)
}

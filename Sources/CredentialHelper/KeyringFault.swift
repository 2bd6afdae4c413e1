/// Why the keyring did not do what it was asked: the exact text of the part that failed, and what to do.
struct KeyringFault: Error, Equatable {
    /// What is wrong.
    enum Kind: Equatable {
        /// libsecret is not installed.
        case noLibrary
        /// There is no session bus, or it cannot be reached.
        case noBus
        /// Nothing on the bus provides the Secret Service.
        case noProvider
        /// The collection is locked and was not unlocked.
        case locked
        /// There is no collection to keep credentials in.
        case missingCollection
        /// Something did not answer in time.
        case noAnswer
        /// Anything else.
        case other
    }

    let kind: Kind
    /// The text, as the library or the provider worded it.
    let text: String

    init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = Self.printable(text)
    }

    /// A fault that libsecret has reported.
    ///
    /// - Parameters:
    ///   - remoteError: the D-Bus name of the error, if it came over the bus.
    ///   - text: the text.
    ///   - isStarting: whether the Secret Service was still being looked for.
    init(remoteError: String?, _ text: String, isStarting: Bool) {
        let kind: Kind =
            switch remoteError {
            case nil where isStarting: .noBus
            case nil where text.contains("Timeout was reached"): .noAnswer
            case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner": .noProvider
            case .some(let name) where name.hasPrefix("org.freedesktop.DBus.Error.Spawn."): .noProvider
            case "org.freedesktop.Secret.Error.IsLocked": .locked
            case "org.freedesktop.Secret.Error.NoSuchObject", "org.freedesktop.DBus.Error.UnknownMethod",
                "org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownInterface":
                .missingCollection
            case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout",
                "org.freedesktop.DBus.Error.TimedOut":
                .noAnswer
            default: .other
            }
        self.init(kind, text)
    }

    /// Whether this session has no keyring at all, so that there cannot be credentials in it.
    var isKeyringAbsent: Bool {
        switch kind {
        case .noLibrary, .noBus, .noProvider: true
        case .locked, .missingCollection, .noAnswer, .other: false
        }
    }

    /// Whether what was asked for is not there.
    var isAbsent: Bool { kind == .missingCollection }

    /// What to do.
    var hint: String {
        switch kind {
        case .noLibrary: "install libsecret-1-0, or \(Self.otherStore)"
        case .noBus:
            "this session has no D-Bus session bus (sudo, ssh, cron and CI have none): "
                + "run docker as the user who is logged in, or \(Self.otherStore)"
        case .noProvider: "install a keyring like gnome-keyring or KeePassXC and log in again, or \(Self.otherStore)"
        case .locked: "unlock the keyring (log in at the desktop, or open Passwords and Keys), or \(Self.otherStore)"
        case .missingCollection:
            "there is no default keyring: make one in Passwords and Keys, or log in at the desktop once, "
                + "or \(Self.otherStore)"
        case .noAnswer: "the keyring does not answer: log out and in again, or \(Self.otherStore)"
        case .other: "see the log of the keyring, or \(Self.otherStore)"
        }
    }

    private static let otherStore = #"keep credentials elsewhere: "store": "pass" in ~/.docker/ram.json"#

    /// The text and the hint, as they are told to Docker.
    var answer: String { "\(text)\nhint: \(hint)" }

    /// The text on one line and without anything that a terminal would act on.
    private static func printable(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            result.append(isControl ? " " : scalar)
        }
        return String(result)
    }
}

public import RegistryAccess

/// The time as far as it can be relied on: whoever sets the clock of a machine back does not make a document hold longer.
///
/// Root can change everything on a machine, this too; a clock that is simply wrong cannot.
public struct TrustedClock: Hashable, Sendable {
    /// How far the wall clock may be behind, or go ahead of the machine's own count, before that is a fault, in seconds.
    public static let tolerance: Int64 = 300

    /// What the system says.
    public struct Reading: Hashable, Sendable {
        /// The wall clock.
        public let wall: Instant
        /// The name of this boot of the machine (`/proc/sys/kernel/random/boot_id`).
        public let boot: String
        /// Seconds since it began, suspended ones included (`CLOCK_BOOTTIME`).
        public let sinceBoot: Int64

        /// A reading.
        ///
        /// - Parameters:
        ///   - wall: the wall clock.
        ///   - boot: the name of this boot.
        ///   - sinceBoot: seconds since it began.
        public init(wall: Instant, boot: String, sinceBoot: Int64) {
            self.wall = wall
            self.boot = boot
            self.sinceBoot = sinceBoot
        }
    }

    /// The latest time that is known to have been.
    public private(set) var latest: Instant
    private var anchor: Reading?
    /// The wall clock is not believed beyond this: a clock that was once far ahead must not end every policy for ever.
    private var ceiling: Instant

    /// A clock that knows nothing yet.
    public init() {
        latest = Instant(seconds: 0)
        ceiling = latest
    }

    /// Reads what ``json`` gave, after a restart.
    ///
    /// - Parameter json: the document.
    /// - Throws: ``Rejection/malformed(_:)``.
    public init(json: [UInt8]) throws(Rejection) {
        var times: [String: Instant] = [:]
        var boot = ""
        var sinceBoot = 0
        try DocumentReader.read(json, ["latest", "ceiling", "boot", "sinceBoot", "atThatTime"]) {
            (key, scanner) throws(InvalidJSON) in
            switch key {
            case "boot": boot = try scanner.string()
            case "sinceBoot": sinceBoot = try DocumentReader.number(&scanner, in: 0...(1 << 53))
            default: times[key] = try DocumentReader.instant(&scanner)
            }
        }
        latest = times["latest"] ?? Instant(seconds: 0)
        ceiling = times["ceiling"] ?? latest
        anchor = Reading(wall: times["atThatTime"] ?? latest, boot: boot, sinceBoot: Int64(sinceBoot))
    }

    /// The clock for keeping.
    public var json: String {
        JSONValue.object([
            JSONMember("latest", .string(latest.description)),
            JSONMember("ceiling", .string(ceiling.description)),
            JSONMember("boot", .string(anchor?.boot ?? "")),
            JSONMember("sinceBoot", .number("\(anchor?.sinceBoot ?? 0)")),
            JSONMember("atThatTime", .string((anchor?.wall ?? latest).description)),
        ]).text()
    }

    /// Learns from an accepted document when it was made, at least.
    ///
    /// - Parameters:
    ///   - issued: when the document was made.
    ///   - isNews: whether it is newer than each before: then what only the wall clock has said counts no more, for that may
    ///     have been ahead.
    ///   - reading: what the system says; kept, because from here on the machine itself counts the seconds.
    public mutating func learn(_ issued: Instant, isNews: Bool = false, _ reading: Reading) {
        ceiling = max(ceiling, issued + FreshnessDocument.lifetimes.upperBound)
        let known = max(issued, counted(reading) ?? issued, believed(reading))
        latest = isNews ? known : max(latest, known)
        anchor = Reading(wall: latest, boot: reading.boot, sinceBoot: reading.sinceBoot)
    }

    /// Keeps what has passed, for the time after a restart; to be called now and then.
    ///
    /// - Parameter reading: what the system says.
    public mutating func advance(_ reading: Reading) {
        let known = max(believed(reading), counted(reading) ?? believed(reading))
        latest = max(latest, min(known, ceiling))
    }

    /// What the machine has counted since a document was accepted; `nil` if that was in another boot.
    private func counted(_ reading: Reading) -> Instant? {
        guard let anchor, anchor.boot == reading.boot, reading.sinceBoot >= anchor.sinceBoot else { return nil }
        return anchor.wall + (reading.sinceBoot - anchor.sinceBoot)
    }

    /// As much of the wall clock as is kept: one that has jumped ahead since a document was accepted will be put right.
    private func believed(_ reading: Reading) -> Instant {
        guard let counted = counted(reading) else { return min(reading.wall, ceiling) }
        return reading.wall - counted > Self.tolerance ? counted : reading.wall
    }

    /// The time: the wall clock's, or a later one if it is known to be later.
    ///
    /// - Parameter reading: what the system says.
    /// - Returns: the time.
    public func now(_ reading: Reading) -> Instant {
        max(least(reading), latest)
    }

    /// The time without what only the wall clock has said, which may have been ahead: by this a document is looked at that is
    /// newer than each before.
    ///
    /// - Parameter reading: what the system says.
    /// - Returns: the time.
    public func least(_ reading: Reading) -> Instant {
        max(reading.wall, counted(reading) ?? anchor?.wall ?? reading.wall)
    }

    /// Whether the wall clock is behind what is known to have been.
    ///
    /// - Parameter reading: what the system says.
    /// - Returns: whether it is, by more than ``tolerance``.
    public func isSetBack(_ reading: Reading) -> Bool {
        now(reading) - reading.wall > Self.tolerance
    }
}

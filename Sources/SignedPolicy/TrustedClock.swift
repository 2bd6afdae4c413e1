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
    /// Where the count begins in a boot in which no document has been accepted yet: at the latest time that was known then.
    private var resumed: Reading?
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
        var resumed: Reading?
        // What was kept by a version that counted in one boot only has no "resumed".
        let known = ["latest", "ceiling", "boot", "sinceBoot", "atThatTime"]
        try DocumentReader.read(json, known, optional: ["resumed"]) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "boot": boot = try scanner.string()
            case "sinceBoot": sinceBoot = try DocumentReader.number(&scanner, in: 0...(1 << 53))
            case "resumed": resumed = try Self.reading(&scanner)
            default: times[key] = try DocumentReader.instant(&scanner)
            }
        }
        latest = times["latest"] ?? Instant(seconds: 0)
        ceiling = times["ceiling"] ?? latest
        anchor = Reading(wall: times["atThatTime"] ?? latest, boot: boot, sinceBoot: Int64(sinceBoot))
        self.resumed = resumed
    }

    private static func reading(_ scanner: inout JSONScanner) throws(InvalidJSON) -> Reading? {
        var time: Instant?
        var boot: String?
        var sinceBoot: Int?
        try scanner.object(of: ["time", "boot", "sinceBoot"]) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "boot": boot = try scanner.string()
            case "sinceBoot": sinceBoot = try DocumentReader.number(&scanner, in: 0...(1 << 53))
            default: time = try DocumentReader.instant(&scanner)
            }
        }
        guard let time, let boot, let sinceBoot else { return nil }
        return Reading(wall: time, boot: boot, sinceBoot: Int64(sinceBoot))
    }

    /// The clock for keeping.
    public var json: String {
        var members = [
            JSONMember("latest", .string(latest.description)),
            JSONMember("ceiling", .string(ceiling.description)),
            JSONMember("boot", .string(anchor?.boot ?? "")),
            JSONMember("sinceBoot", .number("\(anchor?.sinceBoot ?? 0)")),
            JSONMember("atThatTime", .string((anchor?.wall ?? latest).description)),
        ]
        if let resumed {
            let reading = JSONValue.object([
                JSONMember("time", .string(resumed.wall.description)), JSONMember("boot", .string(resumed.boot)),
                JSONMember("sinceBoot", .number("\(resumed.sinceBoot)")),
            ])
            members.append(JSONMember("resumed", reading))
        }
        return JSONValue.object(members).text()
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
        latest = isNews ? known : max(latest, known, countedOn(reading) ?? known)
        anchor = Reading(wall: latest, boot: reading.boot, sinceBoot: reading.sinceBoot)
        resumed = nil
    }

    /// Counts on from the latest time that is known, if that is from another boot; to be called after a restart.
    ///
    /// The wall clock is not believed for that: at the start of a machine it may be ahead for some seconds.
    ///
    /// - Parameter reading: what the system says.
    public mutating func resume(_ reading: Reading) {
        guard anchor != nil, counted(reading) == nil, countedOn(reading) == nil else { return }
        resumed = Reading(wall: latest, boot: reading.boot, sinceBoot: reading.sinceBoot)
    }

    /// Keeps what has passed, for the time after a restart; to be called now and then.
    ///
    /// - Parameter reading: what the system says.
    public mutating func advance(_ reading: Reading) {
        let known = max(believed(reading), counted(reading) ?? believed(reading))
        latest = max(latest, min(known, ceiling), countedOn(reading) ?? latest)
        guard anchor != nil, counted(reading) == nil else { return }
        // What the wall clock says now is counted on, too, should it be set back later.
        resumed = Reading(wall: latest, boot: reading.boot, sinceBoot: reading.sinceBoot)
    }

    /// What the machine has counted since a document was accepted; `nil` if that was in another boot.
    private func counted(_ reading: Reading) -> Instant? { anchor.flatMap { Self.count(from: $0, to: reading) } }

    /// What the machine has counted on in this boot from what was known before; no longer than any document holds.
    private func countedOn(_ reading: Reading) -> Instant? {
        resumed.flatMap { Self.count(from: $0, to: reading) }.map { min($0, ceiling) }
    }

    private static func count(from start: Reading, to reading: Reading) -> Instant? {
        guard start.boot == reading.boot, reading.sinceBoot >= start.sinceBoot else { return nil }
        return start.wall + (reading.sinceBoot - start.sinceBoot)
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
        max(least(reading), latest, countedOn(reading) ?? latest)
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

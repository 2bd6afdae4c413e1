import LocalInstallation
import Logging
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// Tells the organization's server which registries this machine uses: the registry, the action and the day.
///
/// That something was used is told once a day, and what is told twice says nothing else than once. It is kept in a file until
/// the server has taken it; whoever is killed loses what was used in the last seconds, unless it is used again that day.
actor UseReporter {
    /// How the reporter goes about it.
    struct Pace: Sendable {
        /// How often what was used is taken up.
        var tick = Duration.seconds(5)
        /// How many seconds after a telling the next one comes at the earliest.
        var interval: Int64 = 300
        /// How many uses of a day are told at most.
        var mostOfDay = 200
        /// How many days uses wait for the server.
        var longestWait: Int64 = 7
        /// How long a server is left alone that does not know what it is told, in seconds.
        var afterRefusal: Int64 = 3600
        /// How many uses are told at once; the server takes no more than 1,000.
        var mostAtOnce = 500
    }

    private let files: UseFile
    private let tally: UseTally
    private let pace: Pace
    private let logger: Logger
    private let target: @Sendable () async -> RefusalReporter.Target?
    private let reading: @Sendable () -> TrustedClock.Reading

    private var kept: UseFile.Content?
    private var isWritten = true
    private var schedule = RefreshSchedule()
    private var chance = SystemRandomNumberGenerator()
    private var earliest: Int64?
    private var saidFault: String?
    /// The day of which it was said that it has too many.
    private var fullDay: String?

    /// A reporter.
    ///
    /// - Parameters:
    ///   - paths: where everything is.
    ///   - tally: what is used.
    ///   - logger: where the words go.
    ///   - pace: how to go about it.
    ///   - target: to whom the machine belongs now, if it does.
    ///   - reading: what the clocks say.
    init(
        _ paths: InstallationPaths,
        tally: UseTally,
        logger: Logger,
        pace: Pace = Pace(),
        target: @escaping @Sendable () async -> RefusalReporter.Target?,
        reading: @escaping @Sendable () -> TrustedClock.Reading = TrustedClock.Reading.ofThisMachine
    ) {
        files = UseFile(paths)
        self.tally = tally
        self.logger = logger
        self.pace = pace
        self.target = target
        self.reading = reading
    }

    /// Reports until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            await turn()
            try? await Task.sleep(for: pace.tick)
        }
    }

    /// Takes up what was used meanwhile, and tells it if it is time.
    func turn() async {
        let target = await target()
        let (uses, lost) = tally.take(of: target?.organization)
        guard let target else {
            kept = nil
            return
        }
        do throws(FileError) {
            try keep(uses, lost, of: target)
        } catch {
            say("which registries are used cannot be kept for the organization", "\(error)")
        }
        guard let device = target.device else { return }
        while let part = kept?.untold, !part.isEmpty, isDue {
            guard await tell(part, to: target.client, from: device) else { return }
        }
    }

    private var isDue: Bool {
        let now = reading().sinceBoot
        return schedule.isDue(at: now) && earliest.map { $0 <= now } ?? true
    }

    // MARK: - What was used

    private func keep(_ uses: [RegistryUse], _ lost: Int, of target: RefusalReporter.Target) throws(FileError) {
        if kept?.organization != target.organization {
            schedule = RefreshSchedule()
            earliest = nil
            let there = files.content().flatMap { $0.organization == target.organization ? $0 : nil }
            kept = there ?? UseFile.Content(organization: target.organization)
        }
        guard var content = kept else { return }
        if let device = target.device, content.device != device.id {
            // Another device of the server's, which knows nothing of this machine.
            content.untold.formUnion(content.told)
            content.told = []
            content.device = device.id
        }
        let today = Self.day(reading().wall.seconds / 86_400)
        var counts: [String: Int] = [:]
        let known = content.told.union(content.untold)
        for use in known { counts[use.day, default: 0] += 1 }
        // A clock that is set about may make any number of days.
        let most = pace.mostOfDay * (Int(pace.longestWait) + 2)
        var left = lost
        let all = known.union(uses)
        for use in Set(uses).subtracting(known).sorted(by: UseFile.order) {
            // Whoever pulls reaches the host, too.
            guard use.action != nil || !RegistryAction.allCases.contains(where: { all.contains(use.with($0)) }) else {
                continue
            }
            guard counts[use.day, default: 0] < pace.mostOfDay, content.told.count + content.untold.count < most else {
                left += 1
                continue
            }
            counts[use.day, default: 0] += 1
            content.untold.insert(use)
        }
        if left > 0, fullDay != today {
            fullDay = today
            logger.warning(
                "so many registries are used today that the organization is not told of all",
                metadata: ["most": "\(pace.mostOfDay)", "left.out": "\(left)"]
            )
        }
        let oldest = Self.day(reading().wall.seconds / 86_400 - pace.longestWait)
        content.untold = content.untold.filter { $0.day >= oldest }
        // What is over cannot be used again.
        content.told = content.told.filter { $0.day >= today }
        if content != kept {
            kept = content
            isWritten = false
        }
        guard !isWritten else { return }
        try files.write(content)
        isWritten = true
    }

    private static func day(_ number: Int64) -> String {
        String(Instant(seconds: number * 86_400).description.prefix(10))
    }

    // MARK: - The server

    /// Tells the server some of it.
    ///
    /// - Returns: whether more can be told.
    private func tell(
        _ untold: Set<RegistryUse>,
        to client: OrganizationClient,
        from device: OrganizationClient.Device
    ) async -> Bool {
        let part = untold.sorted(by: UseFile.order).prefix(pace.mostAtOnce)
        let isLast = part.count == untold.count
        do throws(ServerFault) {
            try await client.send(uses: part.map(\.json), from: device)
            schedule = RefreshSchedule()
            if isLast { earliest = reading().sinceBoot + pace.interval }
            saidFault = nil
            settle(part, told: true)
            return !isLast
        } catch {
            if error.isAboutRoute {
                earliest = reading().sinceBoot + pace.afterRefusal
                say("the organization's server does not take which registries are used", "\(error)")
            } else if error.isAboutReport {
                earliest = reading().sinceBoot + pace.afterRefusal
                logger.error(
                    "the organization's server refused which registries are used; it is not told again",
                    metadata: ["error": "\(error)"]
                )
                settle(part, told: false)
            } else {
                schedule.failed(at: reading().sinceBoot, using: &chance)
                say("the organization's server does not hear which registries are used; that waits", "\(error)")
            }
            return false
        }
    }

    /// Remembers that the server has heard something, or never will.
    private func settle(_ part: ArraySlice<RegistryUse>, told: Bool) {
        guard var content = kept else { return }
        content.untold.subtract(part)
        if told { content.told.formUnion(part) }
        kept = content
        do throws(FileError) {
            try files.write(content)
        } catch {
            say("which registries are used cannot be kept for the organization", "\(error)")
        }
    }

    /// Says what is wrong, once.
    private func say(_ words: Logger.Message, _ fault: String) {
        guard saidFault != fault else { return }
        saidFault = fault
        logger.warning(words, metadata: ["error": "\(fault)"])
    }
}

extension ServerFault {
    /// Whether the server does not know what was asked of it, as an older one.
    fileprivate var isAboutRoute: Bool {
        switch self {
        case .notFound: true
        case .refused(let status, _), .status(let status): [404, 405].contains(status)
        default: false
        }
    }
}

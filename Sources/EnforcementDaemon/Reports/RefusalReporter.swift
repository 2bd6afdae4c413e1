import LocalInstallation
import Logging
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// Tells the organization's server what this machine refused, and how it is.
///
/// What is refused stands in the decision log; from there it goes into files, and from those to the server, which keeps what
/// comes twice once. So nothing is lost and nothing comes double, whenever docker-ramd is killed and however long the server
/// is away, up to the limits of ``Pace``.
actor RefusalReporter {
    /// How the reporter goes about it.
    struct Pace: Sendable {
        /// How often the decision log is looked at.
        var tick = Duration.seconds(5)
        /// After how many seconds the server hears of the machine even if nothing has happened.
        var silence: Int64 = 900
        /// How many refusals are in a report at most; the server takes no more than 1,000.
        var mostRefusals = 1000
        /// How long reports wait for the server, in seconds: also while the machine sleeps.
        var longestWait: Int64 = 30 * 86_400
        /// How long those that wait are together, in bytes.
        var mostBytes = 64 << 20
        /// How many wait: more than come in a day in which something is refused at every look.
        var mostReports = 20_000
    }

    /// To whom the machine belongs.
    struct Target: Sendable {
        let organization: String
        let client: OrganizationClient
        /// This machine; `nil` as long as the server does not know it.
        let device: OrganizationClient.Device?
    }

    /// How the machine is.
    struct Status: Hashable, Sendable {
        /// The version of the policy in force; 0 if none is.
        var policyVersion: Int
        /// The version of the engine, if it is known.
        var engineVersion: String?
        /// Where it is decided.
        var enforcementPoints: [DecisionRecord.Point]
        /// What is wrong with the machine.
        var findings: [DoctorFinding] = []

        /// The status as reports have it.
        ///
        /// - Parameter lost: how many refusals no report will ever tell of.
        /// - Returns: an object.
        func json(lost: Int) -> JSONValue {
            var members = [JSONMember("policyVersion", .integer(policyVersion))]
            if let engineVersion { members.append(JSONMember("engineVersion", .string(engineVersion))) }
            members.append(JSONMember("productVersion", .string(ProductVersion.text)))
            members.append(JSONMember("enforcementPoints", .texts(enforcementPoints.map(\.rawValue))))
            let finding = [JSONMember("check", .string("reports")), JSONMember("lost", .integer(lost))]
            members.append(JSONMember("findings", .array(findings.map(\.json) + (lost > 0 ? [.object(finding)] : []))))
            return .object(members)
        }
    }

    private let files: ReportFiles
    private let log: String
    private let pace: Pace
    private let logger: Logger
    private let target: @Sendable () async -> Target?
    private let status: @Sendable () -> Status
    private let reading: @Sendable () -> TrustedClock.Reading

    private var progress: ReportFiles.Progress?
    private var schedule = RefreshSchedule()
    private var chance = SystemRandomNumberGenerator()
    private var told: (status: Status, at: Int64)?
    private var saidFault: String?
    /// The reports that could not be read when they were to be sent.
    private var unreadable: Set<String> = []

    /// A reporter.
    ///
    /// - Parameters:
    ///   - paths: where everything is.
    ///   - logger: where the words go.
    ///   - pace: how to go about it.
    ///   - target: to whom the machine belongs now, if it does.
    ///   - status: how the machine is now.
    ///   - reading: what the clocks say.
    init(
        _ paths: InstallationPaths,
        logger: Logger,
        pace: Pace = Pace(),
        target: @escaping @Sendable () async -> Target?,
        status: @escaping @Sendable () -> Status,
        reading: @escaping @Sendable () -> TrustedClock.Reading = TrustedClock.Reading.ofThisMachine
    ) {
        files = ReportFiles(paths)
        log = paths.decisionLog
        self.pace = pace
        self.logger = logger
        self.target = target
        self.status = status
        self.reading = reading
    }

    /// Reports until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            await turn()
            try? await Task.sleep(for: pace.tick)
        }
    }

    /// Takes up what was refused meanwhile, and sends what waits if it is time.
    func turn() async {
        guard let target = await target() else {
            progress = nil
            told = nil
            return
        }
        do throws(FileError) {
            try collect(target.organization)
        } catch {
            say("what was refused cannot be kept for the organization", "\(error)")
        }
        do throws(FileError) {
            try await sendWhatWaits(to: target)
            // Not before: a machine may have slept for longer than reports wait.
            try dropOld()
        } catch {
            say("what waits for the organization cannot be looked through", "\(error)")
        }
    }

    private func sendWhatWaits(to target: Target) async throws(FileError) {
        guard let progress, progress.organization == target.organization, let device = target.device,
            schedule.isDue(at: reading().sinceBoot)
        else { return }
        for report in try files.waiting(progress) {
            guard await send(report, to: target.client, from: device) else { return }
        }
    }

    // MARK: - Reports to be sent

    private func collect(_ organization: String) throws(FileError) {
        let kept = try files.progress()
        if progress?.organization != organization || kept?.organization != organization {
            try begin(organization, kept)
        }
        guard var progress else { return }
        let before = progress
        while true {
            let reading = RefusalReading(
                of: log,
                behind: progress.position,
                organization: organization,
                mostRefusals: min(pace.mostRefusals, 1000)
            )
            if reading.hasGap { say("some refusals may be missing in reports", "the decision log was removed") }
            progress.position = reading.position
            progress.lost += reading.unusable
            if !reading.refusals.isEmpty {
                try write(reading.refusals, &progress)
            } else if reading.position.head != before.position.head || reading.unusable > 0 {
                try keep(progress)
            }
            self.progress = progress
            if reading.isComplete { break }
        }
        let status = status()
        let isTold = told.map { $0.status == status && self.reading().sinceBoot - $0.at < pace.silence } ?? false
        guard !isTold, var progress = self.progress,
            try files.waiting(progress).allSatisfy({ unreadable.contains($0.name) })
        else { return }
        try write([], &progress)
    }

    /// Goes on with what is kept, or, for an organization that is new here, with what is refused from now on.
    private func begin(_ organization: String, _ kept: ReportFiles.Progress?) throws(FileError) {
        schedule = RefreshSchedule()
        told = nil
        unreadable = []
        if let kept, kept.organization == organization {
            progress = kept
        } else {
            let position = RefusalReading.end(of: log)
            var new = ReportFiles.Progress(organization: organization, position: position)
            // Whose they are nobody knows, so they go; those of another organization are no loss for this one.
            if kept == nil { new.lost = files.lossWithAll() }
            if new.lost > 0 { say("some refusals may be missing in reports", "what was kept of them cannot be used") }
            progress = nil
            try files.begin(new)
            progress = new
        }
    }

    /// Writes a report, and that the decision log is in reports up to there.
    private func write(_ refusals: [JSONValue], _ progress: inout ReportFiles.Progress) throws(FileError) {
        let status = status()
        let name = progress.nextName
        let report = JSONValue.object([
            JSONMember("batch", .string(name)), JSONMember("status", status.json(lost: progress.lost)),
            JSONMember("refusals", .array(refusals)),
        ])
        try files.write(report, name)
        progress.next += 1
        progress.lost = 0
        try keep(progress)
        told = (status, reading().sinceBoot)
    }

    private func keep(_ progress: ReportFiles.Progress) throws(FileError) {
        try files.keep(progress)
        self.progress = progress
    }

    /// Removes the oldest reports if they are too old, or too many or too much together.
    private func dropOld() throws(FileError) {
        guard let progress else { return }
        let waiting = try files.waiting(progress)
        var bytes = waiting.reduce(0) { $0 + $1.size }
        var count = waiting.count
        let oldest = reading().wall.seconds - pace.longestWait
        for report in waiting {
            guard report.written < oldest || bytes > pace.mostBytes || count > pace.mostReports else { return }
            bytes -= report.size
            count -= 1
            drop(report)
        }
    }

    /// Removes a report that nobody will ever see, and remembers how many refusals are lost with it.
    private func drop(_ report: ReportFiles.Waiting) {
        guard var progress else { return }
        progress.lost += files.loss(with: report.name)
        files.remove(report.name)
        // Counted here in any case, and kept with the next report at the latest.
        self.progress = progress
        do throws(FileError) {
            try keep(progress)
        } catch {
            say("how many refusals are lost cannot be kept", "\(error)")
        }
    }

    // MARK: - The server

    /// Sends one report.
    ///
    /// - Returns: whether the next one can be sent.
    private func send(
        _ report: ReportFiles.Waiting,
        to client: OrganizationClient,
        from device: OrganizationClient.Device
    ) async -> Bool {
        let content: JSONValue?
        do throws(FileError) {
            content = try files.content(of: report.name)
            unreadable.remove(report.name)
        } catch {
            // It is gone with the organization, or it waits until it can be read.
            if !error.isNotFound {
                unreadable.insert(report.name)
                say("a report for the organization cannot be read; it waits", "\(error)")
            }
            return true
        }
        guard let content else {
            logger.error("a report that nobody can use is dropped", metadata: ["report": "\(report.name)"])
            drop(report)
            return true
        }
        do throws(ServerFault) {
            try await client.send(report: content, from: device)
            files.remove(report.name)
            schedule = RefreshSchedule()
            saidFault = nil
            return true
        } catch {
            guard error.isAboutReport else {
                schedule.failed(at: reading().sinceBoot, using: &chance)
                say("the organization's server takes no reports; they wait", "\(error)")
                return false
            }
            logger.error(
                "the organization's server refused a report, which is dropped",
                metadata: ["report": "\(report.name)", "error": "\(error)"]
            )
            drop(report)
            return true
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
    /// Whether the server will never take what was sent.
    var isAboutReport: Bool {
        switch self {
        case .refused(let status, _), .status(let status): [400, 413, 422].contains(status)
        default: false
        }
    }
}

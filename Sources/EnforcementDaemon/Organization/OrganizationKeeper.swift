import Glibc
import LocalInstallation
import Logging
import NIOCore
import NIOPosix
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// Keeps what is in force on this machine equal to what the organization says that the machine belongs to.
///
/// What is accepted comes into force at once; what is not changes nothing. Where the server cannot be reached, the last
/// policy stays in force until its own end, and then everything that touches a registry is refused.
actor OrganizationKeeper {
    /// How the keeper goes about it.
    struct Pace: Sendable {
        /// How often the clock is looked at, and whether it is time to ask.
        var tick = Duration.milliseconds(500)
        /// After how many seconds the time is kept.
        var keepingTime: Int64 = 60
        /// How long the server may wait for a change, in seconds.
        var waiting = 50
        /// What an exchange with the server may not exceed.
        var limits = OrganizationClient.Limits()
        /// What the clocks say.
        var reading: @Sendable () -> TrustedClock.Reading = TrustedClock.Reading.ofThisMachine
    }

    private let paths: InstallationPaths
    private let current: CurrentPolicy
    private let logger: Logger
    private let pace: Pace
    private let settings: DaemonSettings.EgressProxy
    private var reading: @Sendable () -> TrustedClock.Reading { pace.reading }

    private var state: OrganizationState?
    private var client: OrganizationClient?
    private var packs: RegistryPacks?
    /// Tells an enrollment from the one before, for who was waiting for the network meanwhile.
    private var generation = 0
    private var schedule = RefreshSchedule()
    private var chance = SystemRandomNumberGenerator()
    /// Counts who wanted the server to be asked.
    private var wishes = 0
    private var freshnessTag: String?
    /// What is in force here.
    private var inForce: OrganizationState.Summary?
    /// What other programs know of it.
    private var published: OrganizationState.Summary?
    /// When they are told again after that has failed; 0 if it has not.
    private var retellingAt: Int64 = 0
    private var timeKeptAt: Int64 = 0
    private var isClockFaultSaid = false
    /// Counts who has signed in, so that the end of the last session is not taken for that of this one.
    private var signIns = 0
    private var wantsTicket = false
    /// What waits for a change, while that is under way.
    private var poll: Task<Result<OrganizationClient.Changes, ServerFault>, Never>?
    /// When the server is asked for changes again after that has failed.
    private var changeRetries = RefreshSchedule()
    /// This machine as the server knows it, if that cannot be written to disk.
    private var unkeptDevice: OrganizationClient.Device?
    /// What registers this machine, while that is under way.
    private var registration: Task<Result<OrganizationClient.Device, ServerFault>, Never>?
    /// What was asked of the organization here, the newest first, as the server said last.
    private(set) var requests: [RegistryRequest] = []
    /// Of how many changes of them the server had told then; `nil` if it has not told.
    private var requestChanges: Int?

    private static let retellingPause: Int64 = 5

    // Of its own, because a long policy takes seconds to read, and everything else goes on meanwhile.
    private static let thread = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let executor: any SerialExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// A keeper that has nothing to keep yet.
    ///
    /// - Parameters:
    ///   - paths: where everything is.
    ///   - current: where the policy in force goes.
    ///   - logger: where the words go.
    ///   - pace: how to go about it.
    ///   - settings: they say which proxy leads out.
    init(
        _ paths: InstallationPaths,
        _ current: CurrentPolicy,
        logger: Logger,
        pace: Pace = Pace(),
        settings: DaemonSettings.EgressProxy = DaemonSettings.EgressProxy()
    ) {
        self.paths = paths
        self.current = current
        self.logger = logger
        self.pace = pace
        self.settings = settings
        executor = Self.thread.next().executor
    }

    /// Follows an organization from here on, beginning with what is kept of it; or none.
    ///
    /// - Parameters:
    ///   - enrollment: to whom the machine belongs.
    ///   - packs: which hosts registries send their clients to.
    func follow(_ enrollment: Enrollment?, packs: RegistryPacks) async {
        guard enrollment != state?.enrollment || packs != self.packs else { return }
        generation += 1
        let old = client
        let time = reading()
        self.packs = packs
        schedule = RefreshSchedule()
        freshnessTag = nil
        published = nil
        inForce = nil
        retellingAt = 0
        timeKeptAt = time.sinceBoot
        requests = []
        requestChanges = nil
        wantsTicket = false
        unkeptDevice = nil
        state = enrollment.flatMap { OrganizationState(resuming: $0, packs: packs, paths, time) }
        client = enrollment.map { enrollment in
            OrganizationClient(
                server: enrollment.server,
                organization: enrollment.organization,
                documents: enrollment.documents,
                certificateAuthority: enrollment.certificateAuthority,
                limits: pace.limits,
                proxy: proxy
            )
        }
        if let fault = state?.fault { logger.error("what was kept is fetched anew", metadata: ["error": "\(fault)"]) }
        publish()
        await old?.shutdown()
    }

    /// The proxy that leads to a web server of the organization: the one that the engine's own requests go through.
    private func proxy(to place: ServerURL) -> OrganizationClient.Proxy? {
        guard let upstream = settings.upstream, !settings.isDirect(place.target.address) else { return nil }
        return OrganizationClient.Proxy(
            host: upstream.host,
            port: upstream.port,
            credentials: upstream.credentials.map { Token($0.text) }
        )
    }

    /// Asks the server as soon as possible.
    func refresh() {
        wishes += 1
        schedule.hurry()
    }

    /// Keeps up with the organization until the task is cancelled.
    func run() async {
        await withTaskGroup { tasks in
            tasks.addTask { await self.keepTime() }
            tasks.addTask { await self.refreshWhenDue() }
            tasks.addTask { await self.followChanges() }
        }
        generation += 1
        await client?.shutdown()
        client = nil
    }

    // MARK: - What is in force

    /// Looks at the clock again and again: what has ended is not in force any more.
    private func keepTime() async {
        while !Task.isCancelled {
            let time = reading()
            if state != nil, time.sinceBoot - timeKeptAt >= pace.keepingTime {
                timeKeptAt = time.sinceBoot
                state?.keepTime(time)
            }
            let isSetBack = state?.isClockSetBack(time) ?? false
            if isSetBack, !isClockFaultSaid {
                logger.error("THE CLOCK OF THIS MACHINE IS SET BACK; the time is counted on")
            }
            isClockFaultSaid = isSetBack
            publish()
            try? await Task.sleep(for: pace.tick)
        }
    }

    /// Puts in force, here and for every program, what follows from what is accepted.
    private func publish() {
        guard let state else { return }
        let time = reading()
        let summary = state.summary(time)
        guard summary != inForce || (summary != published && time.sinceBoot >= retellingAt) else { return }
        let policy = state.policy(summary)
        do throws(FileError) {
            try policy.write(paths)
            published = summary
            retellingAt = 0
        } catch {
            if retellingAt == 0 {
                logger.error("other programs cannot be told what is in force", metadata: ["error": "\(error)"])
            }
            retellingAt = time.sinceBoot + Self.retellingPause
            // Nothing has to be written for that: without the file they refuse.
            if policy.policy == nil { unlink(paths.organizationPolicy) }
        }
        guard summary != inForce else { return }
        inForce = summary
        let inForce = policy.inForce(from: paths.organizationPolicy, at: state.now(time))
        let snapshot = PolicySnapshot(inForce: inForce, loadedAt: .now(), servers: state.enrollment.servers)
        current.replace(with: snapshot, sayingSoTo: logger)
    }

    // MARK: - Documents

    private func refreshWhenDue() async {
        while !Task.isCancelled {
            if state != nil, schedule.isDue(at: reading().sinceBoot) {
                await refreshNow()
            } else {
                try? await Task.sleep(for: pace.tick)
            }
        }
    }

    /// Why nothing newer came.
    private enum RefreshFault: Error, CustomStringConvertible {
        case fetch(DocumentFetch.Fault)
        /// What came cannot be kept.
        case keeping(String)
        /// The machine belongs to somebody else now.
        case overtaken

        var description: String {
            switch self {
            case .fetch(let fault): "\(fault)"
            case .keeping(let words): "what the server says cannot be kept, so it is not in force: \(words)"
            case .overtaken: "the enrollment has changed"
            }
        }
    }

    /// Asks the server once.
    private func refreshNow() async {
        let (generation, wishes) = (generation, wishes)
        do throws(RefreshFault) {
            var fault: RefreshFault?
            do throws(RefreshFault) {
                try await update(generation)
            } catch {
                fault = error
            }
            guard generation == self.generation else { return }
            // What is accepted does not wait until who is signed in has been asked about.
            if fault == nil { state?.fault = nil }
            publish()
            // Documents may come from elsewhere: where they fail, people stay signed in all the same.
            do throws(RefreshFault) {
                try await renewTicket(generation)
            } catch {
                fault = fault ?? error
            }
            guard generation == self.generation else { return }
            if let fault { throw fault }
            let seconds = state?.documents?.freshness?.refreshSeconds ?? 900
            schedule.succeeded(at: reading().sinceBoot, refreshSeconds: seconds, using: &chance)
        } catch {
            guard generation == self.generation else { return }
            schedule.failed(at: reading().sinceBoot, using: &chance)
            let words = "\(error)"
            if state?.fault != words {
                logger.warning("the organization has nothing newer for us", metadata: ["error": "\(words)"])
            }
            state?.fault = words
        }
        // Whoever has wanted to know something newer meanwhile is not served by what was asked before.
        if wishes != self.wishes { schedule.hurry() }
        publish()
    }

    /// Fetches what there is, and accepts all of it in one go.
    private func update(_ generation: Int) async throws(RefreshFault) {
        guard let client, let state else { throw .overtaken }
        let sequence = state.documents?.freshness?.sequence
        let fetch = DocumentFetch(client: client, state: state, freshnessTag: freshnessTag, reading: pace.reading)
        let fetched: DocumentFetch.Fetched
        do throws(DocumentFetch.Fault) {
            fetched = try await fetch.run()
        } catch {
            throw generation == self.generation ? .fetch(error) : .overtaken
        }
        guard generation == self.generation else { throw .overtaken }
        if !fetched.update.isEmpty {
            let isKept: Bool?
            do throws(Rejection) {
                isKept = try self.state?.accept(fetched.update, reading())
            } catch {
                // A change has brought something newer while this was on its way.
                if case .older = error, sequence != self.state?.documents?.freshness?.sequence { return }
                throw .fetch(.rejection(error))
            }
            guard isKept == true else { throw .keeping(self.state?.keepingFault ?? "") }
            if let tag = fetched.freshnessTag { freshnessTag = tag }
        }
        if let fault = fetched.fault { throw .fetch(fault) }
    }

    // MARK: - Sign-in

    /// This machine as the server knows it, once it does.
    var device: OrganizationClient.Device? { unkeptDevice ?? (try? OrganizationFiles(paths).device) }

    /// The server, for who wants to sign in.
    var server: OrganizationClient? { client }

    /// The organization that the machine belongs to.
    var organization: String? { enrollment?.organization }

    /// By what it belongs to it.
    var enrollment: Enrollment? { state?.enrollment }

    /// To whom the machine belongs, and by what it tells the server something, once it is registered there.
    var reportTarget: RefusalReporter.Target? {
        guard let client, let organization else { return nil }
        return RefusalReporter.Target(organization: organization, client: client, device: device)
    }

    /// Who is signed in, and by what they stay so.
    var session: OrganizationFiles.Session? { try? OrganizationFiles(paths).session }

    /// This machine as the server knows it, registered now if it has to be.
    ///
    /// - Returns: the device.
    /// - Throws: `ServerFault`.
    func registeredDevice() async throws(ServerFault) -> OrganizationClient.Device {
        guard let client else { throw .unreachable("the machine belongs to no organization") }
        return try await registeredDevice(client, generation)
    }

    /// Forgets a device that the server does not know any more, unless the machine is registered as another by now.
    ///
    /// Whoever was signed in was so on that device, and is not any more.
    ///
    /// - Parameter device: the device.
    func forget(_ device: OrganizationClient.Device) {
        guard self.device?.id == device.id else { return }
        logger.notice("the server does not know this machine any more; it registers again")
        unkeptDevice = nil
        OrganizationFiles(paths).remove(.device)
        endSession()
    }

    /// Takes up who has signed in.
    ///
    /// - Parameters:
    ///   - session: by what they stay signed in, if they do.
    ///   - ticket: the envelope of the ticket.
    ///   - device: this machine.
    /// - Throws: `Rejection`; who was signed in before still is.
    func signIn(_ session: OrganizationFiles.Session?, ticket: [UInt8], for device: String) throws(Rejection) {
        signIns += 1
        try state?.signIn(ticket: ticket, for: device, session: session, reading())
        // What is shown of requests depends on who is signed in.
        requestChanges = nil
        poll?.cancel()
        publish()
    }

    /// Ends the session on this machine at once.
    func endSession() {
        guard state?.documents?.ticket != nil || (try? OrganizationFiles(paths).session) != nil else { return }
        logger.notice("the session has ended")
        state?.endSession()
        publish()
    }

    /// Has the ticket made anew if something has changed or half of its time is over.
    private func renewTicket(_ generation: Int) async throws(RefreshFault) {
        guard let client, let state, state.documents != nil, let device,
            let session = try? OrganizationFiles(paths).session
        else { return }
        let now = state.now(reading())
        let isWanted = wantsTicket
        if let ticket = state.documents?.signedIn(at: now), !isWanted,
            now - ticket.issued < (ticket.expires - ticket.issued) / 2
        {
            return
        }
        let signIns = signIns
        // Before it is asked for: who wants another meanwhile is not served by this one.
        wantsTicket = false
        var rejection: Rejection?
        do throws(ServerFault) {
            let answer = try await client.token(.refresh(session.refreshToken), for: device)
            guard generation == self.generation, signIns == self.signIns, isKept(session) else { return }
            if let token = answer.refreshToken {
                self.state?.keep(
                    OrganizationFiles.Session(user: answer.user, refreshToken: token, localUser: session.localUser)
                )
            }
            guard let ticket = answer.ticket else { return }
            do throws(Rejection) {
                try self.state?.signIn(ticket: ticket, for: device.id, session: nil, reading())
            } catch {
                rejection = error
            }
        } catch {
            guard generation == self.generation, signIns == self.signIns, isKept(session) else { return }
            switch error.code {
            case "invalid_grant", "access_denied":
                logger.notice("the server has ended the session")
                self.state?.endSession()
            case "not_a_member": self.state?.endSession(ofStranger: session.user)
            default:
                if isWanted { wantsTicket = true }
                throw .fetch(.server(error))
            }
        }
        guard let rejection else { return }
        if isWanted { wantsTicket = true }
        throw .fetch(.rejection(rejection))
    }

    /// Whether a session goes on, also for who has asked for its next token meanwhile: it may have been ended here.
    private func isKept(_ session: OrganizationFiles.Session) -> Bool {
        guard let kept = try? OrganizationFiles(paths).session else { return false }
        return kept.refreshToken.text.utf8.elementsEqual(session.refreshToken.text.utf8)
    }

    // MARK: - Changes

    /// Lets the server say when something changes, again and again.
    private func followChanges() async {
        var cursor: String?
        var ticket: String?
        var (known, knownSignIns) = (generation, signIns)
        while !Task.isCancelled {
            if known != generation {
                known = generation
                cursor = nil
                ticket = nil
                changeRetries = RefreshSchedule()
            }
            if knownSignIns != signIns {
                // What was told last may be the end of this very session, before it was known here.
                knownSignIns = signIns
                cursor = nil
            }
            guard let client, state?.documents != nil, changeRetries.isDue(at: reading().sinceBoot) else {
                try? await Task.sleep(for: pace.tick)
                continue
            }
            let (generation, signIns) = (generation, signIns)
            var asked: OrganizationClient.Device?
            do throws(ServerFault) {
                let device = try await registeredDevice(client, generation)
                asked = device
                let answer = await changes(for: device, client, after: cursor)
                guard generation == self.generation else { continue }
                // Whoever has signed in meanwhile is not meant.
                guard signIns == self.signIns else { continue }
                let changes = try answer.get()
                changeRetries = RefreshSchedule()
                if changes.session == .ended { endSession() }
                let isNew = changes.cursor != cursor
                if isNew {
                    // The first one, too: something may have changed since we asked.
                    cursor = changes.cursor
                    let isTicketNew = changes.ticket == nil || changes.ticket != ticket
                    ticket = changes.ticket
                    if isTicketNew { wantsTicket = true }
                    // Where all of it is told, there is nothing to ask for.
                    let isTold = changes.news.map(accept) ?? !isTicketNew
                    if !isTold || isTicketNew || state?.fault != nil { refresh() }
                }
                if let count = changes.requests, count != requestChanges {
                    try await fetchRequests(of: device, client, generation)
                }
                // A server that does not wait is not asked without a pause.
                if !isNew { try? await Task.sleep(for: pace.tick) }
            } catch {
                guard generation == self.generation else { continue }
                if error.code == "device_unknown", let asked {
                    forget(asked)
                    cursor = nil
                }
                logger.debug("changes cannot be followed", metadata: ["error": "\(error)"])
                changeRetries.failed(at: reading().sinceBoot, using: &chance)
            }
        }
    }

    /// Waits for what comes after a cursor, until there is something, the time is over, or somebody signs in.
    private func changes(
        for device: OrganizationClient.Device,
        _ client: OrganizationClient,
        after cursor: String?
    ) async -> Result<OrganizationClient.Changes, ServerFault> {
        let waiting = pace.waiting
        let poll = Task { () -> Result<OrganizationClient.Changes, ServerFault> in
            do throws(ServerFault) {
                return .success(try await client.changes(for: device, after: cursor, waiting: waiting))
            } catch {
                return .failure(error)
            }
        }
        self.poll = poll
        defer { self.poll = nil }
        return await withTaskCancellationHandler {
            await poll.value
        } onCancel: {
            poll.cancel()
        }
    }

    /// Accepts documents that came with a change, and puts them in force.
    ///
    /// A root document that we have not got is fetched first, and so is a policy that was too long to come along.
    ///
    /// - Parameter news: the documents.
    /// - Returns: whether they are all that there is.
    private func accept(_ news: OrganizationClient.News) -> Bool {
        guard let state, let documents = state.documents, news.root == documents.root.version else {
            return false
        }
        var update = OrganizationState.Update(freshness: news.freshness)
        if case .policyNeeded = documents.rejection(of: news.freshness, at: state.least(reading())) {
            guard let policy = news.policy else { return false }
            update.policy = policy
        }
        // What is refused here is fetched and refused once more there, and then status says why.
        guard (try? self.state?.accept(update, reading())) == true else { return false }
        publish()
        return true
    }

    /// Fetches what was asked for here, of which something has changed.
    private func fetchRequests(
        of device: OrganizationClient.Device,
        _ client: OrganizationClient,
        _ generation: Int
    ) async throws(ServerFault) {
        let (requests, changes) = try await client.requests(of: device)
        guard generation == self.generation else { return }
        self.requests = requests
        requestChanges = changes
    }

    /// Asks the organization for a registry.
    ///
    /// - Parameters:
    ///   - registry: the registry.
    ///   - action: to pull, or to push as well.
    ///   - reason: why.
    /// - Returns: the request.
    /// - Throws: `ServerFault`.
    func ask(
        for registry: RegistryAddress,
        to action: RegistryAction,
        because reason: String
    ) async throws(ServerFault) -> RegistryRequest {
        guard let client else { throw .unreachable("the machine belongs to no organization") }
        let generation = generation
        var device = try await registeredDevice(client, generation)
        let request: RegistryRequest
        do throws(ServerFault) {
            request = try await client.ask(for: registry, to: action, because: reason, from: device)
        } catch {
            guard error.code == "device_unknown" else { throw error }
            forget(device)
            device = try await registeredDevice(client, generation)
            request = try await client.ask(for: registry, to: action, because: reason, from: device)
        }
        note(request, generation)
        return request
    }

    /// Takes back what was asked for here, or by who is signed in here.
    ///
    /// - Parameter number: the number of the request.
    /// - Returns: the request.
    /// - Throws: `ServerFault`.
    func withdraw(_ number: Int) async throws(ServerFault) -> RegistryRequest {
        guard let client else { throw .unreachable("the machine belongs to no organization") }
        // A machine that is not known yet has asked for nothing.
        guard let device else { throw .notFound }
        let generation = generation
        let request = try await client.withdraw(number, from: device)
        note(request, generation)
        return request
    }

    /// Shows a request at once; what else has changed, the server tells.
    private func note(_ request: RegistryRequest, _ generation: Int) {
        guard generation == self.generation else { return }
        let place = requests.firstIndex { $0.number == request.number }
        requests.removeAll { $0.number == request.number }
        requests.insert(request, at: place ?? 0)
    }

    // MARK: - Registration

    /// Whether what the machine belongs to now is what is followed here.
    var isFollowing: Bool {
        guard let state else { return false }
        return Enrollment.read(paths).enrollment == state.enrollment
    }

    /// Registers this machine, unless the server knows it.
    ///
    /// - Parameter token: the enrollment token that lets it in.
    /// - Returns: the device.
    /// - Throws: `ServerFault`.
    func register(showing token: Token) async throws(ServerFault) -> OrganizationClient.Device {
        guard let client else { throw .unreachable("the machine belongs to no organization") }
        let generation = generation
        if let device {
            do throws(ServerFault) {
                _ = try await client.changes(for: device, after: nil, waiting: 0)
                return device
            } catch {
                guard error.code == "device_unknown" else { throw error }
                forget(device)
            }
        }
        let device = try await registeredDevice(client, generation, showing: token)
        changeRetries.hurry()
        return device
    }

    private func registeredDevice(
        _ client: OrganizationClient,
        _ generation: Int,
        showing token: Token? = nil
    ) async throws(ServerFault) -> OrganizationClient.Device {
        // One after the other: two who found no device would make the server know two.
        while let registration {
            _ = await registration.value
            if self.registration == registration { self.registration = nil }
        }
        guard generation == self.generation else { throw .unreachable("the enrollment has changed") }
        if let device = try keptDevice() { return device }
        let registration = Task { await registerNow(client, generation, token) }
        self.registration = registration
        let result = await withTaskCancellationHandler {
            await registration.value
        } onCancel: {
            registration.cancel()
        }
        if self.registration == registration { self.registration = nil }
        return try result.get()
    }

    /// This machine as the server knows it; what could not be written to disk is tried again.
    ///
    /// - Throws: `ServerFault` if that cannot be read, which does not mean that there is none.
    private func keptDevice() throws(ServerFault) -> OrganizationClient.Device? {
        if let unkeptDevice {
            keep(unkeptDevice)
            return unkeptDevice
        }
        do {
            return try OrganizationFiles(paths).device
        } catch let error as FileError {
            throw .unreachable("this machine's name at the server cannot be read: \(error)")
        } catch {
            return nil
        }
    }

    /// Keeps by what the server knows this machine; until that can be written, it is remembered.
    private func keep(_ device: OrganizationClient.Device) {
        do throws(FileError) {
            try OrganizationFiles(paths).write(device)
            unkeptDevice = nil
        } catch {
            if unkeptDevice == nil {
                logger.error("this machine's name at the server cannot be kept", metadata: ["error": "\(error)"])
            }
            unkeptDevice = device
        }
    }

    private func registerNow(
        _ client: OrganizationClient,
        _ generation: Int,
        _ token: Token?
    ) async -> Result<OrganizationClient.Device, ServerFault> {
        let device: OrganizationClient.Device
        do throws(ServerFault) {
            device = try await client.registerDevice(named: HostName.ofThisMachine, enrollmentToken: token)
        } catch {
            if error.isRegistrationRefused, generation == self.generation {
                state?.registrationFault = Self.unregistered
            }
            return .failure(error)
        }
        guard generation == self.generation else { return .failure(.unreachable("the enrollment has changed")) }
        state?.registrationFault = nil
        keep(device)
        return .success(device)
    }

    private static let unregistered =
        "the server does not register this machine, so changes arrive late and nobody can sign in; it wants an enrollment "
        + "token (sudo docker ram enroll ... --enrollment-token-stdin), or has as many machines as it takes"
}

import Glibc
import LocalInstallation
import Logging
import NIOCore
import NIOPosix
import RegistryAccess
import Synchronization

/// The control socket: gives status and log to every local user, takes down what the credential helper decided, and signs
/// the machine in and out.
///
/// A connection asks one question. Nobody may hold so many connections that the others get none.
struct ControlServer: Sendable {
    /// What a connection may not exceed.
    struct Limits: Sendable {
        /// How many connections there are at a time; root has as many for itself.
        var connections = 128
        /// How many of them one user other than root has.
        var connectionsOfUser = 32
        /// How long the question may take to come, and an answer that ends to be taken.
        var patience: TimeAmount = .seconds(10)
        /// How many lines wait for a follower before it is dropped.
        var waitingLines = 1024
        /// How many users read the whole log at a time; root reads it as often beside them.
        var histories = 2
        /// How long reading the whole log may take.
        var historyPatience: TimeAmount = .seconds(60)
    }

    private typealias Connection = (channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>, peer: PeerCredentials)

    private let listener: NIOAsyncChannel<Connection, Never>
    private let limits: Limits
    private let log: DecisionLog
    private let helperRecords: HelperRecords
    private let signInDesk: SignInDesk
    private let registrationDesk: RegistrationDesk
    private let requestDesk: RequestDesk
    private let status: @Sendable () -> DaemonStatus
    private let logger: Logger
    private let admission: Admission

    /// Begins to listen.
    ///
    /// - Parameters:
    ///   - socket: a listening socket, which the server takes over and closes.
    ///   - limits: what a connection may not exceed.
    ///   - log: the decision log.
    ///   - helperRecords: takes down what the credential helper decided.
    ///   - signInDesk: signs the machine in and out.
    ///   - registrationDesk: registers the machine.
    ///   - requestDesk: asks the organization for registries.
    ///   - status: says how docker-ramd is.
    ///   - logger: where failures go.
    ///   - group: the event loops.
    /// - Throws: what the system says to the socket.
    init(
        on socket: CInt,
        limits: Limits = Limits(),
        log: DecisionLog,
        helperRecords: HelperRecords,
        signInDesk: SignInDesk,
        registrationDesk: RegistrationDesk,
        requestDesk: RequestDesk,
        status: @escaping @Sendable () -> DaemonStatus,
        logger: Logger,
        group: any EventLoopGroup
    ) async throws {
        self.limits = limits
        self.log = log
        self.helperRecords = helperRecords
        self.signInDesk = signInDesk
        self.registrationDesk = registrationDesk
        self.requestDesk = requestDesk
        self.status = status
        self.logger = logger
        admission = Admission(limits)
        listener = try await ServerBootstrap(group: group)
            // Some clients end their side behind the question.
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(socket) { channel in
                PeerCredentials.of(channel).flatMapThrowing { peer in
                    (try NIOAsyncChannel(wrappingChannelSynchronously: channel), peer)
                }
            }
    }

    /// Serves until the task is cancelled.
    func run() async throws {
        try await listener.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask { await serve(connection) }
                }
            }
        }
    }

    private func serve(_ connection: Connection) async {
        let channel = connection.channel.channel
        let user = connection.peer.user
        let isAdmitted = admission.enter(user)
        defer { if isAdmitted { admission.leave(user) } }
        // Closing the channel ends whatever waits for it.
        let deadline = channel.eventLoop.scheduleTask(in: limits.patience) { channel.close(promise: nil) }
        defer { deadline.cancel() }
        do {
            try await connection.channel.executeThenClose { inbound, outbound in
                guard isAdmitted else { return try await Self.send(["too many connections"].map(Self.fault), outbound) }
                guard let line = try await Self.line(inbound) else { return }
                switch Self.request(line) {
                case .failure(let invalid): try await Self.send([Self.fault(invalid.description)], outbound)
                case .success(.status): try await Self.send([status().json.text()], outbound)
                case .success(.log(let limit, false)): try await Self.send(await log.newest(limit), outbound)
                case .success(.log(let limit, true)):
                    deadline.cancel()
                    try await follow(limit, channel, outbound)
                case .success(.history(let since, let refusedOnly)):
                    deadline.cancel()
                    try await history(since, refusedOnly, user, channel, outbound)
                case .success(.record(let id, let registry)):
                    // Nobody waits for an answer.
                    helperRecords.take(id, registry, from: user)
                case .success(.signIn(let method)):
                    deadline.cancel()
                    try await signInDesk.signIn(by: method, of: user, isAwaited: { channel.isActive }) {
                        try await Self.send([$0.text()], outbound)
                    }
                case .success(.signOut):
                    deadline.cancel()
                    try await Self.send([await signInDesk.signOut(by: user).text()], outbound)
                case .success(.register(let token)):
                    deadline.cancel()
                    try await Self.send([await registrationDesk.register(showing: token, by: user).text()], outbound)
                case .success(.requests): try await Self.send([await requestDesk.requests.text()], outbound)
                case .success(.request(let registry, let action, let reason)):
                    deadline.cancel()
                    let answer = await requestDesk.ask(for: registry, to: action, because: reason, by: user)
                    try await Self.send([answer.text()], outbound)
                case .success(.withdraw(let number)):
                    deadline.cancel()
                    try await Self.send([await requestDesk.withdraw(number, by: user).text()], outbound)
                }
            }
        } catch {
            logger.debug("control connection broke", metadata: ["peer.user": "\(user)"])
        }
    }

    private func follow(
        _ limit: Int,
        _ channel: any Channel,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        let follower = await log.follow(limit, capacity: limits.waitingLines) {
            // It does not read, so the write that waits for it would never end.
            channel.close(promise: nil)
        }
        channel.closeFuture.whenComplete { _ in follower.leave() }
        try await Self.send(follower.lines, outbound)
        for await line in follower.further { try await Self.send([line], outbound) }
    }

    private func history(
        _ since: String?,
        _ refusedOnly: Bool,
        _ user: uid_t,
        _ channel: any Channel,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        guard admission.enterHistory(user) else {
            return try await Self.send([Self.fault("others are reading the log; try again")], outbound)
        }
        defer { admission.leaveHistory(user) }
        let deadline = channel.eventLoop.scheduleTask(in: limits.historyPatience) { channel.close(promise: nil) }
        defer { deadline.cancel() }
        var history = DecisionHistory(path: log.path)
        let since = since.map { Array($0.utf8) }
        while let block = history.next() {
            var buffer = ByteBuffer()
            for line in block.lines where !refusedOnly || !DecisionHistory.isAllowed(line) {
                if let since, let time = DecisionHistory.time(of: line), time.lexicographicallyPrecedes(since) {
                    continue
                }
                buffer.writeBytes(line)
                buffer.writeString("\n")
            }
            if buffer.readableBytes > 0 { try await outbound.write(buffer) }
        }
        // Without this line, somebody who is cut off would take what came for the whole log.
        try await Self.send([JSONValue.object([JSONMember("end", .bool(true))]).text()], outbound)
    }

    private static func send(_ lines: [String], _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>) async throws {
        // Not one write for all, so that a slow reader holds few of them in memory.
        var buffer = ByteBuffer()
        for line in lines {
            buffer.writeString(line)
            buffer.writeString("\n")
            guard buffer.readableBytes >= 32 << 10 else { continue }
            try await outbound.write(buffer)
            buffer = ByteBuffer()
        }
        if buffer.readableBytes > 0 { try await outbound.write(buffer) }
    }

    /// The first line, cut at one byte more than may be; `nil` if the connection ends before anything has come.
    private static func line(_ inbound: NIOAsyncChannelInboundStream<ByteBuffer>) async throws -> [UInt8]? {
        var line: [UInt8] = []
        for try await part in inbound {
            for byte in part.readableBytesView {
                if byte == UInt8(ascii: "\n") { return line }
                line.append(byte)
                if line.count > ControlRequest.longestLine { return line }
            }
        }
        return line.isEmpty ? nil : line
    }

    private static func request(_ line: [UInt8]) -> Result<ControlRequest, InvalidControlRequest> {
        Result { () throws(InvalidControlRequest) in try ControlRequest(line: line) }
    }

    private static func fault(_ text: String) -> String {
        JSONValue.object([JSONMember("error", .string(text))]).text()
    }
}

/// Counts connections, so that one user does not take them all.
///
/// Root's are counted apart: a person can have thousands of user ids (subordinate ones), and all of them together must not
/// keep out whoever has to find out what is going on.
final class Admission: Sendable {
    private let limits: ControlServer.Limits
    private let counts = Mutex((ofOthers: 0, ofUser: [uid_t: Int](), historiesOfRoot: 0, historians: Set<uid_t>()))

    init(_ limits: ControlServer.Limits) {
        self.limits = limits
    }

    func enter(_ user: uid_t) -> Bool {
        counts.withLock { counts in
            let mine = counts.ofUser[user, default: 0]
            let total = user == 0 ? mine : counts.ofOthers
            guard total < limits.connections, user == 0 || mine < limits.connectionsOfUser else { return false }
            if user != 0 { counts.ofOthers += 1 }
            counts.ofUser[user] = mine + 1
            return true
        }
    }

    func leave(_ user: uid_t) {
        counts.withLock { counts in
            if user != 0 { counts.ofOthers -= 1 }
            counts.ofUser[user] = counts.ofUser[user].flatMap { $0 > 1 ? $0 - 1 : nil }
        }
    }

    /// Whether a user may read the whole log now; each but root does so once at a time.
    func enterHistory(_ user: uid_t) -> Bool {
        counts.withLock { counts in
            if user == 0 {
                guard counts.historiesOfRoot < limits.histories else { return false }
                counts.historiesOfRoot += 1
                return true
            }
            return counts.historians.count < limits.histories && counts.historians.insert(user).inserted
        }
    }

    func leaveHistory(_ user: uid_t) {
        counts.withLock { counts in
            if user == 0 { counts.historiesOfRoot -= 1 } else { counts.historians.remove(user) }
        }
    }
}

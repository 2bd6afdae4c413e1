@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import RegistryAccess
import Synchronization
import TestSupport
import Testing

/// The built program as the service manager or an administrator starts it.
struct DaemonProcessTests {
    @Test
    func `own sockets are made, served and removed`() async throws {
        try await withInstallation { paths in
            let daemon = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await daemon.becomesReady(paths))
            #expect(try Files.status(paths.pluginSocket).mode & 0o777 == 0o600)
            #expect(try Files.status(paths.controlSocket).mode & 0o777 == 0o666)
            #expect(try await onThread { try Self.refuses("evil.test/x", paths.pluginSocket) })
            daemon.signal(SIGTERM)
            #expect(try await daemon.ending() == 0)
            #expect(throws: FileError.self) { try Files.status(paths.pluginSocket) }
            #expect(throws: FileError.self) { try Files.status(paths.controlSocket) }
            // What was decided last is in the log.
            let log = String(decoding: try Files.read(paths.decisionLog, atMost: 1 << 20).bytes, as: UTF8.self)
            #expect(log.contains(#""registry":"evil.test""#))
        }
    }

    @Test
    func `the root can come from the environment`() async throws {
        try await withInstallation { paths in
            let daemon = try DaemonProcess(["run"], environment: ["DOCKER_RAM_ROOT": paths.root])
            #expect(try await daemon.becomesReady(paths))
            daemon.signal(SIGINT)
            #expect(try await daemon.ending() == 0)
        }
    }

    @Test
    func `a socket that a crash left is replaced`() async throws {
        try await withInstallation { paths in
            let first = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await first.becomesReady(paths))
            first.signal(SIGKILL)
            #expect(try await first.ending() == 128 + SIGKILL)
            #expect(try Files.status(paths.pluginSocket).mode & S_IFMT == S_IFSOCK)
            let second = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await second.becomesReady(paths))
            second.signal(SIGTERM)
            #expect(try await second.ending() == 0)
        }
    }

    @Test
    func `a second daemon goes away and leaves the first alone`() async throws {
        try await withInstallation { paths in
            let first = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await first.becomesReady(paths))
            let second = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await second.ending() == 1)
            #expect(second.errors.contains("another docker-ramd is running"))
            #expect(try await onThread { try Self.refuses("evil.test/x", paths.pluginSocket) })
            first.signal(SIGTERM)
            #expect(try await first.ending() == 0)
        }
    }

    @Test
    func `a socket on which somebody else answers is not taken`() async throws {
        try await withInstallation { paths in
            let other = try ListeningSocket.open(at: paths.pluginSocket, mode: 0o600)
            defer { close(other.descriptor) }
            let daemon = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await daemon.ending() == 1)
            #expect(daemon.errors.contains("another process listens on"))
            #expect(try Files.status(paths.pluginSocket).mode & S_IFMT == S_IFSOCK)
        }
    }

    @Test
    func `what is no socket is not removed`() async throws {
        try await withInstallation { paths in
            try Files.makeDirectory(Files.directory(of: paths.controlSocket))
            try Files.replace(paths.controlSocket, with: Array("mine".utf8), mode: 0o644)
            let daemon = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await daemon.ending() == 1)
            #expect(daemon.errors.contains("is no socket; remove it"))
            #expect(try Files.read(paths.controlSocket, atMost: 9).bytes == Array("mine".utf8))
            #expect(throws: FileError.self) { try Files.status(paths.pluginSocket) }
        }
    }

    @Test(arguments: [["plugin", "control"], ["control", "plugin"], []])
    func `sockets are taken over from the service manager`(_ names: [String]) async throws {
        try await withInstallation { paths in
            let plugin = try ListeningSocket.open(at: "\(paths.root)/p.sock", mode: 0o600)
            let control = try ListeningSocket.open(at: "\(paths.root)/c.sock", mode: 0o666)
            let sockets = names.first == "control" ? [control, plugin] : [plugin, control]
            // Somebody calls before the program has even started.
            let early = try SocketClient(plugin.path)
            early.send(RunningDaemon.post("/AuthZPlugin.AuthZReq", pull("evil.test/x")))
            let daemon = try DaemonProcess(
                ["run", "--root", paths.root],
                sockets: sockets.map(\.descriptor),
                names: names
            )
            #expect(try await onThread { early.readAnswer()?.body.hasPrefix(#"{"Allow":false"#) } == true)
            #expect(try await onThread { try Self.status(control.path).contains(plugin.path) })
            // Nothing is opened beside them.
            #expect(throws: FileError.self) { try Files.status(paths.pluginSocket) }
            daemon.signal(SIGTERM)
            #expect(try await daemon.ending() == 0)
            // They belong to the service manager, for which they stay: a caller now waits for the next start.
            let late = try SocketClient(plugin.path)
            late.send(RunningDaemon.post("/AuthZPlugin.AuthZReq", pull("evil.test/x")))
            let next = try DaemonProcess(
                ["run", "--root", paths.root],
                sockets: sockets.map(\.descriptor),
                names: names
            )
            #expect(try await onThread { late.readAnswer()?.body.hasPrefix(#"{"Allow":false"#) } == true)
            next.signal(SIGTERM)
            #expect(try await next.ending() == 0)
            close(plugin.descriptor)
            close(control.descriptor)
        }
    }

    @Test
    func `what is handed over must be a listening unix socket`() async throws {
        try await withInstallation { paths in
            let file = open("/dev/null", O_RDONLY | O_CLOEXEC)
            defer { close(file) }
            let daemon = try DaemonProcess(["run", "--root", paths.root], sockets: [file])
            #expect(try await daemon.ending() == 1)
            #expect(daemon.errors.contains("descriptor 3 is not a unix socket"))

            let idle = try UnixSocketAddress.newSocket("")
            defer { close(idle) }
            let other = try DaemonProcess(["run", "--root", paths.root], sockets: [idle])
            #expect(try await other.ending() == 1)
            #expect(other.errors.contains("descriptor 3 is not a listening stream socket"))

            let plugin = try ListeningSocket.open(at: "\(paths.root)/p.sock", mode: 0o600)
            defer { close(plugin.descriptor) }
            let named = try DaemonProcess(
                ["run", "--root", paths.root],
                sockets: [plugin.descriptor, plugin.descriptor],
                names: ["plugin", "plugin"]
            )
            #expect(try await named.ending() == 1)
            #expect(named.errors.contains("descriptor 4 has the name \"plugin\""))
        }
    }

    @Test
    func `sockets that are meant for another process are left alone`() async throws {
        try await withInstallation { paths in
            let daemon = try DaemonProcess(
                ["run", "--root", paths.root],
                environment: ["LISTEN_PID": "1", "LISTEN_FDS": "2"]
            )
            #expect(try await daemon.becomesReady(paths))
            daemon.signal(SIGTERM)
            #expect(try await daemon.ending() == 0)
        }
    }

    @Test
    func `the service manager is told`() async throws {
        try await withInstallation { paths in
            let path = "\(paths.root)/notify"
            let address = try UnixSocketAddress(path)
            let receiver = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            defer { close(receiver) }
            #expect(address.withPointer { bind(receiver, $0, $1) } == 0)
            let daemon = try DaemonProcess(
                ["run", "--root", paths.root],
                environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"]
            )
            let messages = try await onThread { (0..<4).map { _ in Self.receive(receiver) } }
            #expect(messages == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"])
            daemon.signal(SIGTERM)
            let last = try await onThread {
                var message = Self.receive(receiver)
                while message == "WATCHDOG=1" { message = Self.receive(receiver) }
                return message
            }
            #expect(last == "STOPPING=1")
            #expect(try await daemon.ending() == 0)
        }
    }

    @Test
    func `SIGHUP reads the policy and does not end the program`() async throws {
        try await withInstallation { paths in
            let daemon = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await daemon.becomesReady(paths))
            unlink(paths.policyFile)
            daemon.signal(SIGHUP)
            #expect(await eventually { daemon.errors.contains("UNMANAGED: there is no policy, everything is allowed") })
            #expect(try await onThread { try !Self.refuses("evil.test/x", paths.pluginSocket) })
            daemon.signal(SIGTERM)
            #expect(try await daemon.ending() == 0)
        }
    }

    @Test
    func `settings that cannot be read end the program with their place`() async throws {
        try await withInstallation { paths in
            try Files.replace(paths.daemonSettings, with: Array(#"{"log": 1}"#.utf8), mode: 0o644)
            let daemon = try DaemonProcess(["run", "--root", paths.root])
            #expect(try await daemon.ending() == 1)
            #expect(daemon.errors.contains(#"line 1, column 2: unknown key "log""#))
        }
    }

    @Test(arguments: [
        (["--version"], CInt(0), "docker-ramd \(ProductVersion.text)\n", ""),
        (["run", "--log-level", "loud"], 64, "", "there is no log level \"loud\""),
        (["run", "--root", "relative"], 64, "", "the root must be an absolute path"),
        (["walk"], 64, "", "walk"),
    ])
    func `the command line`(_ arguments: [String], _ code: CInt, _ output: String, _ errors: String) async throws {
        let daemon = try DaemonProcess(arguments)
        #expect(try await daemon.ending() == code)
        #expect(output.isEmpty || daemon.output == output)
        #expect(errors.isEmpty || daemon.errors.contains(errors))
    }

    private func withInstallation(_ body: (InstallationPaths) async throws -> Void) async throws {
        try await withTemporaryDirectory { root in
            let paths = InstallationPaths(root: root)
            try Files.makeDirectory(Files.directory(of: paths.policyFile))
            try Files.replace(paths.policyFile, with: Array(RunningDaemon.policy.utf8), mode: 0o644)
            try await body(paths)
        }
    }

    private static func refuses(_ image: String, _ socket: String) throws -> Bool {
        let client = try SocketClient(socket)
        client.send(RunningDaemon.post("/AuthZPlugin.AuthZReq", pull(image)))
        return client.readAnswer()?.body.hasPrefix(#"{"Allow":false,"#) == true
    }

    fileprivate static func status(_ socket: String) throws -> String {
        let client = try SocketClient(socket)
        client.send(#"{"request":"status"}"# + "\n")
        return String(decoding: client.read(), as: UTF8.self)
    }

    private static func receive(_ socket: CInt) -> String {
        var poller = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        guard poll(&poller, 1, 10_000) == 1 else { return "nothing" }
        var buffer = [UInt8](repeating: 0, count: 100)
        let count = recv(socket, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
    }
}

/// docker-ramd as a process of its own; it is killed when nobody holds it any more.
final class DaemonProcess: Sendable {
    private let process: pid_t
    /// Whether the number may belong to somebody else by now.
    private let hasEnded = Mutex(false)
    private let directory: String

    /// Starts the program that was built with these tests.
    ///
    /// A shell comes in between where sockets are handed over, because `LISTEN_PID` must name the process itself.
    init(
        _ arguments: [String],
        environment: [String: String] = [:],
        sockets: [CInt] = [],
        names: [String] = []
    ) throws {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let program = Files.directory(of: tests) + "/docker-ramd"
        directory = "\(FileManager.default.temporaryDirectory.path)/ramd-\(UInt32.random(in: .min ... .max))"
        try Files.makeDirectory(directory)
        var environment = environment
        var words = [program] + arguments
        if !sockets.isEmpty {
            environment["LISTEN_FDS"] = "\(sockets.count)"
            if !names.isEmpty { environment["LISTEN_FDNAMES"] = names.joined(separator: ":") }
            words = ["/bin/sh", "-c", "LISTEN_PID=$$; export LISTEN_PID; exec \"$0\" \"$@\""] + words
        }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "\(directory)/out", O_WRONLY | O_CREAT, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "\(directory)/err", O_WRONLY | O_CREAT, 0o600)
        // Copies far above, so that none is overwritten before it is moved to its place.
        let copies = sockets.map { fcntl($0, F_DUPFD_CLOEXEC, 500) }
        defer { for copy in copies { close(copy) } }
        for (index, copy) in copies.enumerated() { posix_spawn_file_actions_adddup2(&actions, copy, CInt(3 + index)) }
        try closeDescriptors(from: CInt(3 + copies.count), in: &actions)

        let variables = environment.map { "\($0.key)=\($0.value)" }
        var process: pid_t = 0
        let executable = words[0]
        let result = Self.withCStrings(words) { words in
            Self.withCStrings(variables) { variables in
                posix_spawn(&process, executable, &actions, nil, words, variables)
            }
        }
        guard result == 0 else { throw FileError("start \"\(program)\"", code: result) }
        self.process = process
    }

    deinit {
        if !hasEnded.withLock({ $0 }) {
            kill(process, SIGKILL)
            var status: CInt = 0
            waitpid(process, &status, 0)
        }
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// What it has written to its standard output.
    var output: String { text("out") }
    /// What it has written to its standard error.
    var errors: String { text("err") }

    func signal(_ number: CInt) { kill(process, number) }

    /// Waits for the end; gives the exit code, or 128 and the signal.
    func ending() async throws -> CInt {
        try await onThread { [self] in
            for _ in 0..<3000 {
                var status: CInt = 0
                let isOver = hasEnded.withLock { hasEnded in
                    hasEnded = waitpid(process, &status, WNOHANG) == process
                    return hasEnded
                }
                if isOver { return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F }
                usleep(10_000)
            }
            return -1
        }
    }

    /// Waits until the control socket answers.
    func becomesReady(_ paths: InstallationPaths) async throws -> Bool {
        let socket = paths.controlSocket
        return await eventually {
            (try? await onThread { try DaemonProcessTests.status(socket) })?.hasPrefix(#"{"version""#) == true
        }
    }

    private func text(_ name: String) -> String {
        (try? String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)) ?? ""
    }

    private static func withCStrings<Result>(
        _ strings: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        let pointers = strings.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        return body(pointers + [nil])
    }
}

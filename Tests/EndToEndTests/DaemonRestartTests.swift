import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

extension EndToEnd {
    /// docker-ramd ends, in good and in bad ways, under a running engine.
    @Suite(.serialized)
    struct DaemonRestartTests {
        @Test("killed and started again in the middle of pulls: no refused pull succeeds, allowed ones recover")
        func killedUnderLoad() async throws {
            try await PrivateDocker.with { docker in
                let isOver = Flag()
                try await withThrowingTaskGroup(of: (allowed: Int, refused: Int).self) { group in
                    for _ in 0..<3 {
                        group.addTask {
                            var count = (allowed: 0, refused: 0)
                            while !isOver.isSet {
                                let bad = try await docker.engine.docker(["pull", docker.refused.image])
                                #expect(bad.status != 0, "\(bad)")
                                if PrivateDocker.isRefusal(bad.errors, of: docker.refused.address) {
                                    count.refused += 1
                                }
                                let good = try await docker.engine.docker(["pull", docker.allowed.image])
                                if good.status == 0 { count.allowed += 1 }
                            }
                            return count
                        }
                    }
                    for _ in 0..<6 {
                        try await Task.sleep(for: .milliseconds(Int.random(in: 300...900)))
                        let status = try await docker.engine.stopDaemon(SIGKILL)
                        #expect(status == 128 + SIGKILL)
                        try await Task.sleep(for: .milliseconds(Int.random(in: 0...300)))
                        try await docker.engine.startDaemon()
                    }
                    try await Task.sleep(for: .seconds(2))
                    isOver.set()
                    for try await count in group {
                        #expect(count.allowed > 0)
                        #expect(count.refused > 0)
                    }
                }
                #expect(try await !docker.has(docker.refused.image))
                #expect(!docker.refused.wasAsked)
                try await docker.engine.docker(["pull", docker.allowed.image]).expecting(0)
            }
        }

        @Test("SIGTERM ends it cleanly")
        func terminated() async throws {
            try await PrivateDocker.with { docker in
                try await docker.engine.docker(["ps"]).expecting(0)
                #expect(try await docker.engine.stopDaemon(SIGTERM) == 0)
                try await docker.engine.startDaemon()
                try await docker.engine.docker(["ps"]).expecting(0)
            }
        }

        @Test("sockets from the service manager keep calls waiting while the daemon is away")
        func socketActivation() async throws {
            try await withTemporaryDirectory { (root: String) async throws in
                let files = FileManager.default
                try files.createDirectory(atPath: "\(root)/etc/docker-ram", withIntermediateDirectories: true)
                try files.createDirectory(atPath: "\(root)/run/docker/plugins", withIntermediateDirectories: true)
                try files.createDirectory(atPath: "\(root)/run/docker-ram", withIntermediateDirectories: true)
                try PrivateDocker.policy(version: 1, allowing: []).write(
                    toFile: "\(root)/etc/docker-ram/policy.json",
                    atomically: true,
                    encoding: .utf8
                )
                let plugin = "\(root)/run/docker/plugins/docker-ram.sock"
                let control = "\(root)/run/docker-ram/control.sock"
                let manager = try RunningProgram([
                    "systemd-socket-activate", "--fdname=plugin:control", "-l", plugin, "-l", control,
                    try Programs.path("docker-ramd"), "run", "--root", root,
                ])
                do {
                    try await waitUntil("the sockets are there") { files.fileExists(atPath: control) }
                    let answer = try await runProgram([
                        "curl", "-sS", "-m", "10", "--unix-socket", plugin, "-X", "POST",
                        "http://plugin/Plugin.Activate",
                    ]).expecting(0)
                    #expect(answer.output.contains("authz"))
                    let status = try await runProgram(
                        ["socat", "-t", "5", "-", "UNIX-CONNECT:\(control)"],
                        input: "{\"request\":\"status\"}\n"
                    ).expecting(0)
                    #expect(status.output.contains(#""state":"enforce""#), "\(status)")
                    // It must not take away what is not its own.
                    manager.send(SIGTERM)
                    #expect(try await manager.status(within: .seconds(10)) == 0, "\(manager.errors)")
                    #expect(files.fileExists(atPath: plugin))
                    #expect(files.fileExists(atPath: control))
                } catch {
                    try await manager.stop()
                    throw error
                }
            }
        }
    }
}

/// Something that several tasks wait for.
private final class Flag: Sendable {
    private let value = Mutex(false)

    var isSet: Bool { value.withLock { $0 } }

    func set() {
        value.withLock { $0 = true }
    }
}

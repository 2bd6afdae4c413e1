import Foundation
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

extension EndToEnd {
    /// `docker ram engine` with a real engine and a real docker-ramd.
    @Suite(.serialized)
    struct EngineWiringTests {
        private func ram(_ engine: PrivateEngine, _ arguments: String...) async throws -> EndedProgram {
            try await runProgram(
                [try Programs.path("docker-ram"), "ram", "engine"] + arguments,
                environment: engine.environment
            )
        }

        private func json(_ ended: EndedProgram) throws -> JSONValue {
            try StrictJSON.parse(Array(try ended.expecting(0).output.utf8))
        }

        @Test("the running engine says where it reads its proxy, and that it does not use it yet")
        func runningEngine() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                let policy = PrivateDocker.policy(version: 1, allowing: [])
                try await PrivateEngine.with(in: directory, policy: policy) { engine in
                    let settings = "\(engine.root)/etc/docker/daemon.json"
                    let before = try String(contentsOfFile: settings, encoding: .utf8)
                    let enabled = try await ram(engine, "enable").expecting(0)
                    #expect(enabled.errors.contains("the running engine is "), "\(enabled)")
                    let (reads, place) =
                        EngineUnderTest.readsProxyFromSettings
                        ? ("daemon.json", "daemon.json") : ("the environment of docker.service", "systemd drop-in")
                    #expect(enabled.errors.contains("it reads its proxy from \(reads)"), "\(enabled)")
                    #expect(enabled.errors.contains("at its next start only"))

                    let paths = InstallationPaths(root: engine.root)
                    let status = try json(await ram(engine, "status", "--format", "json"))
                    let proxy = try #require(status.value(named: "proxy"))
                    #expect(proxy.value(named: "answers") == .bool(true))
                    #expect(proxy.value(named: "place") == .string(place))
                    #expect(status.value(named: "pluginAnswers") == .bool(true))
                    #expect(status.value(named: "restartPending") == .bool(true))
                    #expect(status.value(named: "engine")?.value(named: "usesProxy") == .bool(false))
                    let address = try #require(proxy.value(named: "address")?.text)
                    let url = try ProxySecret(paths).proxyURL(listen: address)
                    #expect(try EngineSetup(paths).state().place(of: url)?.rawValue == place)
                    #expect(!"\(status)".contains(try ProxySecret(paths).secret.text))

                    // Reloading is for the plugin alone, and the engine goes on.
                    try await ram(engine, "enable", "--reload").expecting(0)
                    try await engine.docker(["version"]).expecting(0)

                    try await ram(engine, "disable", "--reload").expecting(0)
                    #expect(try EngineSetup(paths).state().dropIn == nil)
                    #expect(try EngineSetup(paths).state().proxies.isEmpty)
                    #expect(!FileManager.default.fileExists(atPath: paths.proxyEnvironment))
                    // The test had written the plugin there itself.
                    #expect(try String(contentsOfFile: settings, encoding: .utf8) != before)
                    #expect(try EngineSetup(paths).state().plugins == [])
                }
            }
        }

        @Test("enabled before it starts, the engine asks the plugin and goes through the proxy")
        func enabledEngine() async throws {
            try await PrivateDocker.behindProxy(way: .enabled) { docker, network in
                let engine = docker.engine
                // In the network, so that the proxy can be asked.
                func ram(_ arguments: String...) async throws -> EndedProgram {
                    let command = [try Programs.path("docker-ram"), "ram", "engine"] + arguments
                    return try await network.run(command, environment: engine.environment)
                }
                let status = try json(await ram("status", "--format", "json"))
                #expect(status.value(named: "restartPending") == .bool(false), "\(status)")
                #expect(status.value(named: "engine")?.value(named: "usesProxy") == .bool(true), "\(status)")
                #expect(status.value(named: "pluginAnswers") == .bool(true))

                try await engine.docker(["pull", docker.allowed.image]).expecting(0)
                let stranger = PrivateNetwork.Host.stranger.name
                try await network.expectNobody(asks: .stranger) {
                    // The plugin refuses the pull; the proxy refuses what the plugin is not shown.
                    let pull = try await engine.docker(["pull", docker.refused.image])
                    #expect(PrivateDocker.isRefusal(pull.said, of: stranger), "\(pull)")
                    let build = try await docker.build(
                        "FROM \(docker.refused.image)\n",
                        environment: ["DOCKER_BUILDKIT": "1"]
                    )
                    #expect(PrivateDocker.isRefusal(build.said, of: stranger), "\(build)")
                    let login = try await engine.docker(["login", "-u", "u", "-p", "p", stranger])
                    #expect(PrivateDocker.isRefusal(login.said, of: stranger), "\(login)")
                }
                let decisions = engine.daemon.decisions
                #expect(
                    decisions.contains("\"authorization-plugin\"") && decisions.contains("\"egress-proxy\""),
                    "\(decisions)"
                )

                try await ram("disable").expecting(0)
                let settings = try String(contentsOfFile: "\(engine.root)/etc/docker/daemon.json", encoding: .utf8)
                #expect(!settings.contains("7260") && !settings.contains("docker-ram"), "\(settings)")
            }
        }

        @Test("an engine is not cut off: a proxy that is away or has another secret changes nothing")
        func noAnswer() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try await PrivateEngine.with(in: directory, policy: nil) { engine in
                    let paths = InstallationPaths(root: engine.root)
                    let secret = try String(contentsOfFile: paths.proxySecret, encoding: .utf8)
                    try FileManager.default.removeItem(atPath: paths.proxySecret)
                    let wrong = try await ram(engine, "enable")
                    #expect(wrong.status == 1 && wrong.errors.contains("has another secret"), "\(wrong)")
                    try secret.write(toFile: paths.proxySecret, atomically: false, encoding: .utf8)
                    try await engine.stopDaemon()
                    let away = try await ram(engine, "enable")
                    #expect(away.status == 1 && away.errors.contains("nothing was changed"), "\(away)")
                    #expect(!FileManager.default.fileExists(atPath: paths.proxyDropIn))
                    try await engine.startDaemon()
                    try await ram(engine, "enable").expecting(0)
                }
            }
        }
    }
}

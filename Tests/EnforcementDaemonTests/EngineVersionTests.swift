import TestSupport
import Testing

@testable import EnforcementDaemon

struct EngineVersionTests {
    @Test(
        "The engine's version in its Server header, and whether it takes HTTP/2",
        arguments: [
            ("Docker/20.10.24+dfsg1 (linux)", false), ("Docker/28.2.2 (linux)", false),
            ("Docker/29.1.9 (linux)", false),
            ("Docker/29.2.0 (linux)", true), ("Docker/29.7.2 (linux)", true), ("Docker/30.0.0-rc.1 (linux)", true),
            ("Docker/100.0.0", true), ("Docker/1.13.1 (linux)", false), ("Docker/17.06.2-ce (linux)", false),
        ]
    )
    func version(_ server: String, servesHTTP2: Bool) throws {
        #expect(try #require(EngineVersion(server: server)).servesHTTP2 == servesHTTP2)
    }

    @Test(
        "What tells no version",
        arguments: [
            "", "Docker", "Docker/", "Docker/dev (linux)", "Docker/29", "Docker/29.2", "docker/28.2.2", "nginx/1.2.3",
            "Docker/28.x.1",
            "Docker/+28.2.2", "Docker/-1.2.3", "Docker/.2.3", "Docker/2８.2.2", "Docker/12345.1.1", " Docker/28.2.2",
            "Docker/ 28.2.2",
        ]
    )
    func noVersion(_ server: String) {
        #expect(EngineVersion(server: server) == nil)
    }

    // Over HTTP/2 an engine goes by the first of two lengths and shows the plugin the last, so that the form which
    // "Content-Type" announces may be there after all.
    @Test("An empty body is believed once the engine is known to speak HTTP/1 only")
    func emptyBody() async throws {
        let pull = Array(
            (#"{"RequestMethod":"POST","RequestUri":"/v1.41/images/create?fromImage=alpine&tag=1","#
                + #""RequestHeaders":{"Content-Type":"text/plain","Content-Length":"0"}}"#).utf8
        )
        @Sendable func response(_ version: String) -> [UInt8] {
            Array(
                (#"{"RequestMethod":"HEAD","RequestUri":"/_ping","RequestHeaders":{"Server":"Docker/20.10.1"},"#
                    + #""ResponseHeaders":{"Api-Version":"1.41","Server":"Docker/\#(version) (linux)"}}"#).utf8
            )
        }
        try await RunningDaemon.with { daemon in
            func isAllowed() async throws -> Bool {
                try #require(try await daemon.call("/AuthZPlugin.AuthZReq", pull)).body == #"{"Allow":true}"#
            }
            #expect(try await !isAllowed(), "nothing is known of the engine")
            _ = try await daemon.call("/AuthZPlugin.AuthZRes", Array("{broken".utf8))
            #expect(try await !isAllowed())
            _ = try await daemon.call("/AuthZPlugin.AuthZRes", response("28.2.2"))
            #expect(try await isAllowed())
            _ = try await daemon.call("/Plugin.Activate", [])
            #expect(try await !isAllowed(), "it may be another engine now")
            _ = try await daemon.call("/AuthZPlugin.AuthZRes", response("29.7.2"))
            #expect(try await !isAllowed())
        }
    }
}

import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

struct DaemonSettingsTests {
    @Test
    func `a file that is not there means the defaults`() throws {
        try withTemporaryDirectory { root in
            let settings = try DaemonSettings(InstallationPaths(root: root))
            #expect(settings.decisionLog.maximumBytes == 10_485_760)
            #expect(settings.decisionLog.files == 5)
            #expect(settings.decisionLog.logAllowed)
        }
    }

    @Test
    func `every key`() throws {
        let json = #"{"decisionLog": {"maximumBytes": 4096, "files": 1, "logAllowed": false}}"#
        let settings = try DaemonSettings(json: Array(json.utf8))
        #expect(settings.decisionLog.maximumBytes == 4096)
        #expect(settings.decisionLog.files == 1)
        #expect(!settings.decisionLog.logAllowed)
        #expect(try DaemonSettings(json: Array("{}".utf8)) == DaemonSettings())
        #expect(try DaemonSettings(json: Array(#"{"decisionLog":{}}"#.utf8)) == DaemonSettings())
    }

    @Test(arguments: [
        ("", "line 1, column 1: expected an object"),
        ("[]", "line 1, column 1: expected an object"),
        (
            #"{"decisionlog": {}}"#,
            #"line 1, column 2: unknown key "decisionlog"; known here: "decisionLog", "egressProxy""#
        ),
        (
            "{\n  \"decisionLog\": {\n    \"fils\": 3}}",
            #"line 3, column 5: unknown key "fils"; known here: "maximumBytes", "files", "logAllowed""#
        ),
        (#"{"decisionLog": {"files": 0}}"#, "line 1, column 27: expected a whole number from 1 to 100"),
        (#"{"decisionLog": {"files": 1.5}}"#, "line 1, column 27: expected a whole number from 1 to 100"),
        (#"{"decisionLog": {"files": "5"}}"#, "line 1, column 27: expected a value"),
        (
            #"{"decisionLog": {"maximumBytes": 4095}}"#,
            "line 1, column 34: expected a whole number from 4096 to 1073741824"
        ),
        (#"{"decisionLog": {"logAllowed": 1}}"#, "line 1, column 32: expected true or false"),
        (#"{"decisionLog": {}, "decisionLog": {}}"#, #"line 1, column 21: the key "decisionLog" comes twice"#),
        ("{} x", "line 1, column 4: there is something after the end of the document"),
    ])
    func `a fault is named with its place`(_ json: String, _ fault: String) throws {
        let error = #expect(throws: InvalidJSON.self) { try DaemonSettings(json: Array(json.utf8)) }
        #expect(error?.description == fault)
        try withTemporaryDirectory { root in
            let paths = InstallationPaths(root: root)
            try Files.makeDirectory(Files.directory(of: paths.daemonSettings))
            try Files.replace(paths.daemonSettings, with: Array(json.utf8), mode: 0o644)
            let error = #expect(throws: InvalidDaemonSettings.self) { try DaemonSettings(paths) }
            #expect(error?.description == "\"\(paths.daemonSettings)\", \(fault)")
        }
    }
}

//! One module per release, each a list of that release's notes, in the order of the releases.
//!
//! A new module is declared here and listed in [`all`]; the compiler tells of one that is not.

use harness::Scenario;

mod v0_033;
mod v0_034;
mod v0_099;
mod v1_000;
mod v1_001;
mod v1_002;
mod v1_004;
mod v1_005;
mod v1_007;
mod v1_008;
mod v1_010;
mod v1_012;
mod v1_013;
mod v1_014;
mod v1_018;
mod v1_021;
mod v1_022;
mod v1_023;
mod v1_024;
mod v1_025;
mod v1_026;
mod v1_027;
mod v1_029;
mod v1_032;
mod v1_033;
mod v1_034;
mod v1_037;
mod v1_038;
mod v1_039;
mod v1_041;
mod v1_042;
mod v1_043;
mod v1_044;
mod v1_045;
mod v1_047;
mod v1_050;
mod v1_051;
mod v1_053;
mod v1_054;
mod v1_055;
mod v1_056;
mod v1_057;
mod v1_058;
mod v1_059;
mod v1_060;
mod v1_061;
mod v1_062;
mod v1_064;
mod v1_066;
mod v1_067;
mod v1_068;
mod v1_069;
mod v1_071;
mod v1_072;
mod v1_073;
mod v1_074;
mod v1_076;
mod v1_078;
mod v1_079;
mod v1_080;
mod v1_081;
mod v1_084;
mod v1_085;
mod v1_088;
mod v1_089;
mod v1_090;
mod v1_111;
mod v1_119;
mod v1_120;
mod v1_122;
mod v1_126;
mod v1_130;
mod v1_134;
mod v1_135;
mod v1_136;
mod v1_139;
mod v1_140;
mod v1_142;
mod v1_143;
mod v1_144;
mod v1_146;
mod v1_150;
mod v1_152;
mod v1_157;
mod v1_161;
mod v1_163;

/// The scenarios of all notes.
pub(crate) fn all() -> Vec<Scenario> {
    [
        v0_033::scenarios(),
        v0_034::scenarios(),
        v0_099::scenarios(),
        v1_000::scenarios(),
        v1_001::scenarios(),
        v1_002::scenarios(),
        v1_004::scenarios(),
        v1_005::scenarios(),
        v1_007::scenarios(),
        v1_008::scenarios(),
        v1_010::scenarios(),
        v1_012::scenarios(),
        v1_013::scenarios(),
        v1_014::scenarios(),
        v1_018::scenarios(),
        v1_021::scenarios(),
        v1_022::scenarios(),
        v1_023::scenarios(),
        v1_024::scenarios(),
        v1_025::scenarios(),
        v1_026::scenarios(),
        v1_027::scenarios(),
        v1_029::scenarios(),
        v1_032::scenarios(),
        v1_033::scenarios(),
        v1_034::scenarios(),
        v1_037::scenarios(),
        v1_038::scenarios(),
        v1_039::scenarios(),
        v1_041::scenarios(),
        v1_042::scenarios(),
        v1_043::scenarios(),
        v1_044::scenarios(),
        v1_045::scenarios(),
        v1_047::scenarios(),
        v1_050::scenarios(),
        v1_051::scenarios(),
        v1_053::scenarios(),
        v1_054::scenarios(),
        v1_055::scenarios(),
        v1_056::scenarios(),
        v1_057::scenarios(),
        v1_058::scenarios(),
        v1_059::scenarios(),
        v1_060::scenarios(),
        v1_061::scenarios(),
        v1_062::scenarios(),
        v1_064::scenarios(),
        v1_066::scenarios(),
        v1_067::scenarios(),
        v1_068::scenarios(),
        v1_069::scenarios(),
        v1_071::scenarios(),
        v1_072::scenarios(),
        v1_073::scenarios(),
        v1_074::scenarios(),
        v1_076::scenarios(),
        v1_078::scenarios(),
        v1_079::scenarios(),
        v1_080::scenarios(),
        v1_081::scenarios(),
        v1_084::scenarios(),
        v1_085::scenarios(),
        v1_088::scenarios(),
        v1_089::scenarios(),
        v1_090::scenarios(),
        v1_111::scenarios(),
        v1_119::scenarios(),
        v1_120::scenarios(),
        v1_122::scenarios(),
        v1_126::scenarios(),
        v1_130::scenarios(),
        v1_134::scenarios(),
        v1_135::scenarios(),
        v1_136::scenarios(),
        v1_139::scenarios(),
        v1_140::scenarios(),
        v1_142::scenarios(),
        v1_143::scenarios(),
        v1_144::scenarios(),
        v1_146::scenarios(),
        v1_150::scenarios(),
        v1_152::scenarios(),
        v1_157::scenarios(),
        v1_161::scenarios(),
        v1_163::scenarios(),
    ]
    .concat()
}

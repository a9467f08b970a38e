use self::sha256::Sha256;
use super::{EXACT, is_number, lay_out, write_f32, write_f64, write_i64, write_text, write_u64};

mod sha256;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    write(&mut text);
    String::from_utf8(text).unwrap()
}

fn double(value: f64) -> String {
    written(|text| write_f64(text, value).unwrap())
}

#[test]
fn doubles_are_those_of_rfc_8785_appendix_b() {
    let cases = [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ];
    for (bits, expected) in cases {
        assert_eq!(double(f64::from_bits(bits)), expected, "{bits:016x}");
    }
    for bits in [0x7fff_ffff_ffff_ffff, 0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000] {
        write_f64(&mut Vec::new(), f64::from_bits(bits)).unwrap_err();
    }
}

/// A third of each power of ten from 10^22 down, below zero.
#[rustfmt::skip]
const THIRDS: [u64; 50] = [
    0xc466_9669_5dbd_1cc3, 0xc432_11ed_e497_4a35, 0xc3fc_e97c_a0f2_1056, 0xc3c7_2130_80c1_a6ac, 0xc392_80f3_9a34_8556,
    0xc35d_9b1f_5d20_d557, 0xc327_af4c_4a80_aaac, 0xc2f2_f2a3_6ecd_5556, 0xc2be_5105_7e15_5558, 0xc288_40d1_31aa_aaac,
    0xc253_670d_c155_5557, 0xc21f_0b49_3555_5557, 0xc1e8_d5d4_2aaa_aaac, 0xc1b3_de43_5555_5556, 0xc17f_ca05_5555_5556,
    0xc149_6e6a_aaaa_aaab, 0xc114_5855_5555_5555, 0xc0e0_46aa_aaaa_aaab, 0xc0aa_0aaa_aaaa_aaaa, 0xc074_d555_5555_5555,
    0xc040_aaaa_aaaa_aaab, 0xc00a_aaaa_aaaa_aaab, 0xbfd5_5555_5555_5555, 0xbfa1_1111_1111_1111, 0xbf6b_4e81_b4e8_1b4f,
    0xbf35_d867_c3ec_e2a5, 0xbf01_79ec_9cbd_821e, 0xbecb_f647_612f_3696, 0xbe96_5e9f_80f2_9212, 0xbe61_e54c_6728_74db,
    0xbe2c_a213_d840_baf8, 0xbdf6_e80f_e033_c8c6, 0xbdc2_533f_e68f_d3d2, 0xbd8d_51ff_d74c_861c, 0xbd57_74cc_ac3d_3817,
    0xbd22_c3d6_f030_f9ac, 0xbcee_0624_b381_8f79, 0xbcb8_04ea_2934_72c7, 0xbc83_3721_ba90_5bd3, 0xbc4e_be9c_5db3_c61e,
    0xbc18_987d_17c3_04e5, 0xbbe3_ad30_dfcf_371d, 0xbbaf_7b81_6618_582f, 0xbb79_2f9a_b813_79bf, 0xbb44_2615_600f_9499,
    0xbb10_1e77_800c_76e1, 0xbad9_ca58_cce0_be35, 0xbaa4_a1e0_a3e6_fe90, 0xba70_8180_831f_320d, 0xba3a_68cd_9e98_5016,
];

/// Doubles at the edges of ECMAScript's layouts and of the format itself.
#[rustfmt::skip]
const EDGES: [u64; 64] = [
    0x4024_0000_0000_0000, 0x4014_0000_0000_0000, 0x3fe0_0000_0000_0000, 0x3fa9_9999_9999_999a, 0x3f74_7ae1_47ae_147b,
    0x3f40_624d_d2f1_a9fc, 0x3f0a_36e2_eb1c_432d, 0x3ed4_f8b5_88e3_68f1, 0x3ea0_c6f7_a0b5_ed8d, 0x3e6a_d7f2_9abc_af48,
    0x3e35_798e_e230_8c3a, 0x3ed5_3922_3589_fa95, 0x3ed4_ff26_cd5a_7781, 0x3ed4_f95a_7622_83ff, 0x3ed4_f8c6_0703_520c,
    0x3ed4_f8b7_2f19_cd0d, 0x3ed4_f8b5_b31c_0c8d, 0x3ed4_f8b5_8d1c_461a, 0x3ed4_f8b5_894f_7f0e, 0x3ed4_f8b5_88ee_37f3,
    0x3ed4_f8b5_88e4_7da4, 0x3ed4_f8b5_88e3_849c, 0x3ed4_f8b5_88e3_6bb5, 0x3ed4_f8b5_88e3_6937, 0x3ed4_f8b5_88e3_68f8,
    0x3ed4_f8b5_88e3_68f1, 0x3ff0_0000_0000_0000, 0xbff0_0000_0000_0000, 0xbfef_ffff_ffff_fffa, 0xbfef_ffff_ffff_fffb,
    0x3fef_ffff_ffff_fffa, 0x3fef_ffff_ffff_fffb, 0x3fef_ffff_ffff_fffc, 0x3fef_ffff_ffff_fffe, 0xbfef_ffff_ffff_ffff,
    0xbfef_ffff_ffff_ffff, 0x3fef_ffff_ffff_ffff, 0x3fef_ffff_ffff_ffff, 0x3fd3_3333_3333_3332, 0x3fd3_3333_3333_3333,
    0x3fd3_3333_3333_3334, 0x0010_0000_0000_0000, 0x000f_ffff_ffff_fffd, 0x000f_ffff_ffff_ffff, 0x7fef_ffff_ffff_ffff,
    0xffef_ffff_ffff_ffff, 0x4340_0000_0000_0000, 0xc340_0000_0000_0000, 0x4430_0000_0000_0000, 0x44b5_2d02_c7e1_4af5,
    0x44b5_2d02_c7e1_4af6, 0x44b5_2d02_c7e1_4af7, 0x444b_1ae4_d6e2_ef4e, 0x444b_1ae4_d6e2_ef4f, 0x444b_1ae4_d6e2_ef50,
    0x3eb0_c6f7_a0b5_ed8c, 0x3eb0_c6f7_a0b5_ed8d, 0x41b3_de43_5555_5553, 0x41b3_de43_5555_5554, 0x41b3_de43_5555_5555,
    0x41b3_de43_5555_5556, 0x41b3_de43_5555_5557, 0xbecb_f647_612f_3696, 0x4314_3ff3_c1cb_0959,
];

/// The doubles of the RFC's test data, in its order: chosen ones, the first normal ones, then a chain of digests.
fn test_data() -> impl Iterator<Item = f64> {
    const SIGN: u64 = 1 << 63;
    let chosen = [0, SIGN, 1, SIGN | 1].into_iter().chain(THIRDS).chain(THIRDS.map(|bits| bits ^ SIGN)).chain(EDGES);
    let normal = (0..2000).map(|step| 0x0010_0000_0000_0000 + step);
    let digests = std::iter::successors(Some(Sha256::digest(&[0; 32])), |last| Some(Sha256::digest(last)));
    let words =
        digests.flat_map(|digest| [0, 8, 16, 24].map(|at| u64::from_le_bytes(digest[at..at + 8].try_into().unwrap())));
    let fit = |double: &f64| *double != 0.0 && double.is_finite();
    chosen.chain(normal).map(f64::from_bits).chain(words.map(f64::from_bits).filter(fit))
}

#[test]
fn the_first_lines_of_the_rfc_test_data_have_the_published_digest() {
    // The file's authors publish both. The longer one takes a debug build eight seconds.
    let (lines, published) = if cfg!(debug_assertions) {
        (100_000, "22776e6d4b49fa294a0d0f349268e5c28808fe7e0cb2bcbe28f63894e494d4c7")
    } else {
        (1_000_000, "49415fee2c56c77864931bd3624faad425c3c577d6d74e89a83bc725506dad16")
    };
    let mut all = Sha256::new();
    let mut line = Vec::new();
    for double in test_data().take(lines) {
        line.clear();
        std::io::Write::write_fmt(&mut line, format_args!("{:x},", double.to_bits())).unwrap();
        write_f64(&mut line, double).unwrap();
        line.push(b'\n');
        all.update(&line);
    }
    let digest = blake3::Hash::from_bytes(all.finalize()).to_hex();
    assert_eq!(digest.as_str(), published);
}

#[test]
fn a_layout_does_not_depend_on_how_the_digits_came() {
    // Versions of serde_json differ in the `+` and in where they begin to write an exponent.
    let layouts = [
        ("1e20", "100000000000000000000"),
        ("1e+20", "100000000000000000000"),
        ("100000000000000000000.0", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("1000000000000000000000.0", "1e+21"),
        ("1.5E-7", "1.5e-7"),
        ("0.00000015", "1.5e-7"),
        ("1e-6", "0.000001"),
        ("0.000001", "0.000001"),
        ("-12.50", "-12.5"),
        ("-0.125e2", "-12.5"),
        ("1.0", "1"),
    ];
    for (given, expected) in layouts {
        assert_eq!(written(|text| lay_out(text, given.as_bytes())), expected, "{given}");
    }
}

#[test]
fn integers_that_a_double_holds_are_written_as_that_double() {
    for value in [0, 1, 9, 10, 1 << 52, EXACT - 1, EXACT, EXACT + 2, 1 << 60, 3 << 62, 1 << 63, u64::MAX << 11] {
        #[expect(clippy::cast_precision_loss, reason = "each is exact")]
        let as_double = double(value as f64);
        assert_eq!(written(|text| write_u64(text, value)), as_double);
        if let Ok(value) = i64::try_from(value) {
            #[expect(clippy::cast_precision_loss, reason = "each is exact")]
            let as_double = double(-value as f64);
            assert_eq!(written(|text| write_i64(text, -value)), as_double);
        }
    }
    assert_eq!(written(|text| write_u64(text, 1 << 63)), "9223372036854776000");
    assert_eq!(written(|text| write_i64(text, i64::MIN)), "-9223372036854776000");
}

#[test]
fn integers_that_a_double_rounds_are_written_out_as_strings() {
    for value in
        [EXACT + 1, EXACT + 3, (1 << 60) + 1, (1 << 63) - 1, (1 << 63) + 1, 9_223_372_036_854_776_000, u64::MAX]
    {
        assert_eq!(written(|text| write_u64(text, value)), format!(r#""\u0000i:{value}""#));
        if let Ok(value) = i64::try_from(value) {
            assert_eq!(written(|text| write_i64(text, -value)), format!(r#""\u0000i:-{value}""#));
        }
    }
    assert_eq!(written(|text| write_i64(text, i64::MIN + 1)), r#""\u0000i:-9223372036854775807""#);
}

#[test]
fn a_single_is_written_by_its_own_shortest_text() {
    let cases = [
        (0.7, "0.7"),
        (-0.0, "0"),
        (16_777_216.0, "16777216"),
        (1e20, "100000000000000000000"),
        (f32::MAX, "3.4028235e+38"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
        (f32::from_bits(1), "1e-45"),
    ];
    for (value, expected) in cases {
        assert_eq!(written(|text| write_f32(text, value).unwrap()), expected);
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        write_f32(&mut Vec::new(), value).unwrap_err();
    }
}

#[test]
fn a_number_kept_as_text_counts_as_what_a_reader_makes_of_it() {
    let cases = [
        ("1", "1"),
        ("1.0", "1"),
        ("1.10", "1.1"),
        ("1e+2", "100"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e-400", "0"),
        ("9007199254740993", r#""\u0000i:9007199254740993""#),
        ("9007199254740993.0", "9007199254740992"),
        ("-9223372036854775807", r#""\u0000i:-9223372036854775807""#),
        ("-9223372036854775809", "-9223372036854776000"),
        ("18446744073709551615", r#""\u0000i:18446744073709551615""#),
        ("18446744073709551616", "18446744073709552000"),
        ("0.1000000000000000055511151231257827", "0.1"),
    ];
    for (given, expected) in cases {
        assert_eq!(written(|text| write_text(text, given).unwrap()), expected, "{given}");
    }
    for given in
        ["1e400", "-1e400", "", "-", "+1", "01", "1.", ".5", "1e", "1e+", "inf", "nan", "NaN", " 1", "1 ", "0x1", "1_0"]
    {
        write_text(&mut Vec::new(), given).unwrap_err();
    }
}

#[test]
fn the_grammar_of_numbers_is_that_of_json() {
    let mut texts = vec![String::new()];
    for _ in 0..5 {
        texts = texts.iter().flat_map(|text| "01.eE+-".chars().map(move |next| format!("{text}{next}"))).collect();
        for text in &texts {
            // An overflow is a number that cannot be held, which is another matter.
            let parsed = serde_json::from_str::<f64>(text);
            let number = parsed.map_or_else(|error| error.to_string().starts_with("number out of range"), |_| true);
            assert_eq!(is_number(text.as_bytes()), number, "{text}");
        }
    }
}

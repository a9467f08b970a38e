//! Lines over logarithmic axes, as SVG.

use plotters::prelude::*;

/// The figures of one contender.
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const COLOURS: [RGBColor; 9] = [
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xb8, 0xb8, 0xb8),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
];

const FONT: (&str, u32) = ("sans-serif", 16);

/// An SVG of `lines`, both axes logarithmic, marked at the first line's places.
pub fn plot(title: &str, x: &str, y: &str, lines: &[Line]) -> String {
    let mut svg = String::new();
    draw(&mut svg, title, x, y, lines).expect("an SVG can be drawn into a string");
    svg
}

fn draw(svg: &mut String, title: &str, x: &str, y: &str, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let range = |of: fn(&(f64, f64)) -> f64, below: f64, above: f64| {
        let all = lines.iter().flat_map(|line| line.points.iter().map(of));
        let (least, most) = all.fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), at| (least.min(at), most.max(at)));
        (least * below..most * above).log_scale()
    };
    let root = SVGBackend::with_string(svg, (860, 440)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(600);
    let mut chart = ChartBuilder::on(&left)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(range(|point| point.0, 0.9, 1.1), range(|point| point.1, 0.8, 1.25))?;
    let number = |number: &f64| match *number {
        // The places of a logarithmic axis are sums of powers of ten, and not exact.
        number if number < 1.0 => format!("{number:.2}").trim_end_matches('0').to_owned(),
        number => format!("{number:.0}"),
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .draw()?;
    let mut at = 60;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let style = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?;
        // Beside the plot and not in it, where it would lie on some line.
        right.draw(&PathElement::new([(0, at), (20, at)], style))?;
        right.draw(&Text::new(line.name, (26, at - 7), FONT))?;
        at += 24;
    }
    drop(chart);
    root.present()?;
    drop((left, right, root));
    Ok(())
}
